"""Logs and metrics. A leaf: knows nothing of the rest."""
