"""The Kubernetes API server: the few calls that are made, through the official client, and this node's labels there.

A leaf: it knows nothing of checkpoints or outcomes. Failures are `glowplug.errors.KubernetesError`. The client library
is imported at the first call; where there is no API server, never.
"""
