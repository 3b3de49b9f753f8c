"""Whatever breaks during a restore ends in a running container, and nothing is left."""
