"""Revisions of the execution records database."""
