"""A writable layer captured and restored."""
