"""Every path and name of the cluster."""

import os
from dataclasses import dataclass

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = f"{REPOSITORY}/.build/kubernetes/bin"
GATEWAY = "10.99.0.254"
SERVICES = "10.96.0.0/16"
API = "https://127.0.0.1:6443"


@dataclass(frozen=True, slots=True)
class Host:
    """A node's name in the cluster, its address, its pods' addresses, and whom its kubelet is for the API server."""

    name: str
    address: str
    pods: str
    user: str


FIRST = Host("n1", "10.99.0.1", "10.244.0.0/24", "kubelet")
SECOND = Host("n2", "10.99.0.2", "10.244.1.0/24", "kubelet-2")
NODE_NAME = FIRST.name
NODE_ADDRESS = FIRST.address


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
        """Of admin, kubelet, kubelet-2, controller-manager, scheduler or agent."""
        return f"{self.state}/kubeconfig/{user}"

    def second(self) -> "Place":
        """Of the second node, where there is one."""
        return Place(f"{self.state}-n2")


def default() -> Place:
    """$GLOWPLUG_CLUSTER, or one for the entire machine."""
    return Place(os.environ.get("GLOWPLUG_CLUSTER", "/tmp/glowplug-cluster"))
