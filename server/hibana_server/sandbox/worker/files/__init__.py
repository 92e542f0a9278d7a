"""The private directory of one run: a tree in the worker's memory, behind WASI preview 1's functions for files."""
