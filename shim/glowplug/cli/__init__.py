"""`glowplug`: one file per command, imported when it is called. `screen.py` prints, `options.py` has shared options.

`glowplug --help` reads every file: what a command works with is imported in its functions.
A command asks a pipeline and prints what it gets; it decides nothing itself. Only `agent`, `node` and `doctor` begin
another entry. Wrong usage ends with status 2, a failure with 1, each in one line. With --json, output is for programs.
"""
