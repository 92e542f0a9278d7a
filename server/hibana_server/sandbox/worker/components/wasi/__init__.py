"""WASI 0.2 for runs with a private directory: streams, clocks and files of our own in place of the engine's."""
