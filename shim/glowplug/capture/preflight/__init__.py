"""What a capture can't keep, seen in the running processes before anything is touched.

Each check is a function in a file of its own: from the processes to refusals, each with the process, what it holds
and what to do. What needs no refusal, because it comes back right or is harmless to lose, is in docs/edits.md.
"""
