"""Revisions of the modules database."""
