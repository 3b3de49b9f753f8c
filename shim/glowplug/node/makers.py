"""Who makes a containerd's configuration: its operator, or a Kubernetes distribution that brings its own containerd.

A distribution writes the main file again at each start, so the handler goes where it takes changes from (main_file.py).
Sources: docs.k3s.io, Advanced Options; docs.k0sproject.io, Runtime; microk8s, args/containerd-template.toml.
"""

from dataclasses import dataclass

from glowplug.node.effective import ADDRESS


@dataclass(frozen=True, slots=True)
class Maker:
    """`name`: for messages, empty for the operator. `socket`: containerd's, which the main file does not name.

    `units`: of systemd; whichever runs is restarted. `config`: where the main file is.
    """

    name: str
    socket: str
    units: tuple[str, ...]
    config: str


PLAIN = Maker("", ADDRESS, ("containerd",), "/etc/containerd/config.toml")
K3S = Maker(
    "k3s or RKE2",
    "/run/k3s/containerd/containerd.sock",
    ("k3s", "k3s-agent", "rke2-server", "rke2-agent"),
    "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
)
K0S = Maker("k0s", "/run/k0s/containerd.sock", ("k0sworker", "k0scontroller"), "/etc/k0s/containerd.toml")
MICROK8S = Maker(
    "MicroK8s",
    "/var/snap/microk8s/common/run/containerd.sock",
    ("snap.microk8s.daemon-containerd",),
    "/var/snap/microk8s/current/args/containerd.toml",
)
ALL = (K3S, K0S, MICROK8S, PLAIN)
"""A distribution's goes first: where a plain containerd runs beside it, the kubelet uses the distribution's."""
