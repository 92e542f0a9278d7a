"""One file each, named rNNNN_WHAT.py after its revision."""
