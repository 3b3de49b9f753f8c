"""`glowplug doctor`: every fact of this node that a restore needs, looked at and judged.

`checks` is the table. Each other file looks after one concern: a function that reads, mostly small, and one that
judges what was read, without I/O. `finding` says what a judgement is.
"""
