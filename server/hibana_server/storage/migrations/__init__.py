"""Schema revisions of the databases, in order; run by `storage.migrate`."""
