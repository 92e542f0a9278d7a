"""The private directory of one run: a tree in the worker's memory, behind WASI's functions for files."""
