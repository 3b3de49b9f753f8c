"""Steps that are taken while the restored tree is paused at its gate, before any of its processes runs.

`steps.py` is their list: state, health, oom_score_adj, marker, signal. A step that fails is a failed restore, and the
tree is killed without having run. The trial of a fresh checkpoint takes the same steps. Standard library only.
"""
