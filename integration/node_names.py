"""What a private node is called on this machine: every name follows from the node's id.

So that nodes can run beside one another, and that what a killed one left can be found.
"""

import os
import secrets
import tempfile
from dataclasses import dataclass

PREFIX = "gp-"
PAUSE_IMAGE = "glowplug.test/pause:1"


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one node. `id`: six hexadecimal digits; `state`: its directory, short, as sockets need."""

    id: str
    state: str

    @property
    def bridge(self) -> str:
        """Network interface; also the name of the CNI network."""
        return f"gp{self.id}"

    @property
    def subnet(self) -> str:
        """The pods' addresses. 10.128.0.0/9 cut by the id: two nodes meet once in 32768."""
        number = int(self.id, 16) & 0x7FFF
        return f"10.{128 + (number >> 8)}.{number & 0xFF}.0/24"

    @property
    def cgroup_parent(self) -> str:
        """Of all pods, in every hierarchy."""
        return f"/glowplug-test-{self.id}"

    @property
    def socket(self) -> str:
        """containerd's."""
        return f"{self.state}/c.sock"

    @property
    def run_dir(self) -> str:
        """The agent's and the runtime's."""
        return f"{self.state}/glowplug"

    @property
    def config(self) -> str:
        """Glowplug's configuration file."""
        return f"{self.state}/glowplug.toml"

    @property
    def cache(self) -> str:
        """Glowplug's checkpoints."""
        return f"{self.state}/cache"

    @property
    def runc_root(self) -> str:
        """What containerd makes runc's `--root` of, with its namespace appended (/k8s.io)."""
        return f"{self.state}/runc"

    @property
    def owner(self) -> str:
        """Holds pid and start time of the process that runs the node."""
        return f"{self.state}/owner"


def new_names() -> Names:
    """Names that no node has, their state directory made."""
    while True:
        id = secrets.token_hex(3)
        state = os.path.join(tempfile.gettempdir(), PREFIX + id)
        try:
            os.mkdir(state, 0o711)
        except FileExistsError:
            continue
        return Names(id, state)


def all_names() -> list[Names]:
    """Of every node whose state directory is still there."""
    directory = tempfile.gettempdir()
    return [
        Names(entry.removeprefix(PREFIX), os.path.join(directory, entry))
        for entry in sorted(os.listdir(directory))
        if entry.startswith(PREFIX) and len(entry) == len(PREFIX) + 6
    ]
