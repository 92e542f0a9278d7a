"""Tables and queries in SQLAlchemy Core, the same for every SQL database."""
