"""Every path and name of the cluster."""

import os
from dataclasses import dataclass

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = f"{REPOSITORY}/.build/kubernetes/bin"
NODE_NAME = "n1"
NODE_ADDRESS = "10.99.0.1"
GATEWAY = "10.99.0.254"
SERVICES = "10.96.0.0/16"
PODS = "10.244.0.0/24"
API = "https://127.0.0.1:6443"


@dataclass(frozen=True, slots=True)
class Place:
    """`state`: a directory of the cluster's own, on a file system that can carry overlayfs."""

    state: str

    @property
    def name(self) -> str:
        """Of its cgroups and its network interfaces."""
        return os.path.basename(self.state)

    @property
    def cgroup(self) -> str:
        """Its path in each hierarchy."""
        return f"/{self.name}"

    @property
    def pid_file(self) -> str:
        """Process 1 of the node, as this machine numbers it."""
        return f"{self.state}/init.pid"

    @property
    def logs(self) -> str:
        """A file for each daemon."""
        return f"{self.state}/log"

    def kubeconfig(self, user: str) -> str:
        """Of admin, kubelet, controller-manager, scheduler or agent."""
        return f"{self.state}/kubeconfig/{user}"


def default() -> Place:
    """$GLOWPLUG_CLUSTER, or one for the whole machine."""
    return Place(os.environ.get("GLOWPLUG_CLUSTER", "/tmp/glowplug-cluster"))
