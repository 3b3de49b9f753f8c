"""Prometheus: what is counted (`counters.py`), what is read at a scrape (`node.py`), and HTTP (`server.py`).

Base units, `_total`, few label values: no label holds a name that a user chose. docs/observability.md lists each
metric, and a test compares the list.
"""
