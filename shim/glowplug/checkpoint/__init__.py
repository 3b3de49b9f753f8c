"""Core: bundle facts, eligibility, workload key, host requirements, verdict, manifest.

Pure: values in, values out, no I/O. `bundle` and `eligible` are imported by the runtime at every create and
are kept to the standard library's cheapest parts; the rest runs on the agent's side.
"""
