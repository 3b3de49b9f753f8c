"""Glowplug: pods that start from a checkpoint."""

__version__ = "0.2.0"
