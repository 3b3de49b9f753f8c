"""Keeps the lines that it reads; an empty one has it say all of them, and a full stop."""

import sys

lines: list[str] = []
for line in sys.stdin:
    if line.strip():
        lines.append(line.strip())
    else:
        sys.stdout.write("\n".join([*lines, ".\n"]))
