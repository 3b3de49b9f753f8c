"""A container that is to be captured: its annotations and readiness, its turn, and the process that captures it.

A capture runs in a child (`worker.py`) with a journal (`journal.py`): an agent that dies ends none, and a child that
dies is undone from its journal (`undo.py`) - thawed, CUDA restored, the engine awake.
"""
