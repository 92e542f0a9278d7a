"""Components: linked, instantiated, called with values of WIT types."""
