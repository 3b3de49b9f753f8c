"""The agent's loop: a table of containers (`row.py`), each in a state and with the time of its next try.

`loop.py` chooses what is due, `look.py`, `asking.py`, `captures.py` and `wake.py` are the steps of a container, and
`pool.py` runs them: nothing of a tenant is waited for in the loop's own thread. Events (`events.py`) make it look
sooner; a list every 30 s corrects what was missed. `heart.py` reports to systemd that all of it runs.
"""
