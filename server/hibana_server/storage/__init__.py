"""Keep what must outlive the process: blobs, modules, records of executions, keys."""
