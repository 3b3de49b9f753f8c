"""The node daemon. Read `main.py` first: it builds the parts and joins them.

loop/        one level-triggered loop over a table of containers; each step returns when to look again
captures/    whether and when a container is captured, and the process that captures it
serving/     what answers the runtime: resolve, prepared cold starts, prefetch, the registry
kubernetes/  Events, annotations, conditions and node labels
metrics/     Prometheus

Nothing of one tenant holds up another's: what may hang runs in a pool, by namespace. No other entry is imported.
"""
