"""Checkpoints between nodes through a registry."""
