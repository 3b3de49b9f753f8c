"""Outcomes of starts and captures, and the questions to the agent about one.

A start has exactly one outcome: `restored`, `cold:REASON` or `fallback:STAGE`. The runtime appends it to a spool
(`spool.py`), also while the agent is down; the agent takes it into the history (`history.py`). A record is read with
care: any field may be missing (`record.py`). `ask.py`, `outcome.py`, `report.py` and `spool.py` run at each start:
standard library only.
"""
