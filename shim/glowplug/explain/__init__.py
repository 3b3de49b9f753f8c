"""Why a container starts as it does: its spec against every checkpoint that its namespace may use.

`judge.py` gives the verdicts, for the agent's answer and for `glowplug explain` alike, so that both say the same.
`preflight.py` compares a manifest (`pod_manifest.py`) before there is a container. Nothing here prints.
"""
