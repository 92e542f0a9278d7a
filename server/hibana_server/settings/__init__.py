"""Settings of the service. A leaf: knows nothing of the rest."""
