"""What is particular to SQLite: pragmas, the record writer, checkpoints, the change counter."""
