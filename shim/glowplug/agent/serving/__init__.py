"""What answers `glowplug-runtime create`, and what is got ready so that the answer is quick.

The socket (`server.py`), the answer (`resolve.py`), cold starts decided ahead (`prepare.py`), what a start waits
for (`preparing.py`), checkpoints read ahead (`prefetch.py`), the registry's children (`registry_work.py`,
`peers.py`). An answer is late after 1 s: a miss.
"""
