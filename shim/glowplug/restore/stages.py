"""The stages of a restore by name: what its record measures, and where it can fail."""

from glowplug.restore import steps
from glowplug.restore.at_gate import steps as at_gate

NAMES = tuple(dict.fromkeys((*(name for name, _ in (*steps.STEPS, *at_gate.STEPS)), "resume", "commit")))
"""All that are measured or can fail, except for parts of `criu` and `cuda`."""
