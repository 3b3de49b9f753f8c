"""Glowplug: pods that start from a checkpoint."""

__version__ = "0.1.0"
