"""A second node, joined to the first by a veth: a kubelet, a containerd, cgroups and directories of its own."""

import os
import subprocess

from hack.clusterlib import node
from hack.clusterlib.machine import Failed, Machine
from hack.clusterlib.place import API, FIRST, SECOND


def join(first: Machine, containerd: str) -> Machine:
    """Until it is ready; it has no Glowplug. `first` is up."""
    second = Machine(first.place.second(), SECOND)
    second.down()
    try:
        second.up()
        _connect(first, second)
        _lend(first, second)
        node.start(second, containerd)
    except BaseException:
        if not os.environ.get("GLOWPLUG_CLUSTER_KEEP"):
            second.down()
        raise
    return second


def _connect(first: Machine, second: Machine) -> None:
    """A link of their own, which goes with the second node; each routes to the other's pods."""
    second.run("ip", "link", "del", "node0")
    first.run("ip", "link", "add", "join0", "type", "veth", "peer", "name", "join1")
    _ip(first, "link", "set", "join1", "netns", str(second.init))
    second.run("ip", "link", "set", "join1", "name", "node0")
    second.run("ip", "addr", "add", f"{SECOND.address}/24", "dev", "node0")
    second.run("ip", "link", "set", "node0", "up")
    second.run("ip", "route", "add", "default", "via", FIRST.address)
    first.run("ip", "link", "set", "join0", "up")
    first.run("ip", "route", "add", f"{SECOND.address}/32", "dev", "join0", "src", FIRST.address)
    first.run("ip", "route", "add", SECOND.pods, "via", SECOND.address, "dev", "join0", "onlink")


def _lend(first: Machine, second: Machine) -> None:
    """What the second node says to the API server with: the same files, with an address that it reaches."""
    for user in ("admin", SECOND.user):
        with open(first.place.kubeconfig(user)) as file:
            text = file.read()
        path = second.place.kubeconfig(user)
        with open(path, "w") as file:
            file.write(text.replace(API, API.replace("127.0.0.1", FIRST.address)))
        os.chmod(path, 0o600)


def _ip(machine: Machine, *words: str) -> None:
    """In the node's network, but with this machine's numbers of processes."""
    done = subprocess.run(
        ["nsenter", "-t", str(machine.init), "-n", "ip", *words], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise Failed(f"ip {' '.join(words)}: {done.stderr.strip()}")
