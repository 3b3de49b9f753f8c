"""The store: drafts, publication, leases, quarantine, eviction. Read `store.py` first; `layout.py` has the paths.

A checkpoint is complete or absent: written aside, checked, fsynced, renamed (`draft.py`). It never changes afterwards,
and is never evicted while leased (flock(2)). What may change of it (pin, quarantine, last use) is a file beside it
(`state.py`). All is owned by root, mode 0700.
"""
