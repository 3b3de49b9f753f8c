"""CRIU: its options, its images read and rewritten, and the memory that is loaded beside it.

Images are rewritten after a capture (`fixups.py` lists how) so that unmodified CRIU restores them elsewhere. Each field
cites CRIU's proto. `fill.py` and what it imports run at each restore: standard library only.
"""
