"""The gate: what can be known and refused about a module before it is compiled.

Reads the binary format with the standard library alone. Runs in the compile worker, since its input is hostile
and takes CPU time; the front never calls it.
"""
