"""`glowplug`: one file per command, imported when it is called. `screen.py` prints, `options.py` has shared options.

A command asks a pipeline and prints what it gets; it decides nothing itself. Only `agent`, `node` and `doctor` begin
another entry. Wrong usage ends with status 2, a failure with 1, each in one line. With --json, output is for programs.
"""
