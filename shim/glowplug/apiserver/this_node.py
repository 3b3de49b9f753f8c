"""This node in the Kubernetes API: its name, and its labels taken off at an uninstall."""

import os
import socket

from glowplug.apiserver import node_labels
from glowplug.apiserver.client import Api, is_in_a_pod
from glowplug.config import Config


def node_name(setting: str) -> str:
    """The configured one, the pod's own environment's (downward API), or the kubelet's default."""
    return setting or os.environ.get("NODE_NAME") or socket.gethostname().lower()


def unlabel(config: Config) -> int:
    """Take our labels off the node, at an uninstall; how many. 0 where nothing is written to Kubernetes.

    Raises UsageError, KubernetesError.
    """
    setting = config.kubernetes
    if setting == "off" or (setting == "auto" and not is_in_a_pod()):
        return 0
    api, node = Api(setting), node_name(config.node_name)
    gone = node_labels.removal(api.labels(node))
    if gone:
        api.label(node, gone)
    return len(gone)
