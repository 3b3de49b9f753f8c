"""Prometheus: what is counted (`counters.py`), what is read at a scrape (`node.py`), and HTTP (`server.py`).

Base units, `_total`, few label values: no label holds a name that a user chose. docs/observability.md lists each
metric, and the dashboard in runtime_config/grafana shows it (tests/test_agent_grafana.py).
"""
