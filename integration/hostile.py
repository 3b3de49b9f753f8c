"""Pods that would delay everybody else, if anybody waited for them: what they mount, how they answer, what they ask.

Each is a function that starts one on a node and returns its container. All are in the namespace `evil`.
"""

import os
import secrets
import threading
from collections.abc import Callable, Mapping

from integration.cri_specs import Mount
from integration.images import PYTHON
from integration.pods import Container, Pods, generated_name

FILES = int(os.environ.get("GLOWPLUG_HOSTILE_FILES", "20000"))
"""In a volume of many; 10^6 where somebody has the time."""

DRIP = """
import socket
server = socket.create_server(("0.0.0.0", 8000))
connections = []
while True:
    connection = server.accept()[0]
    connections.append(connection)
    import threading, time
    def drip(connection=connection):
        try:
            while True:
                connection.sendall(b"H"); time.sleep(0.4)
        except OSError:
            pass
    threading.Thread(target=drip, daemon=True).start()
"""

Hostile = Callable[[Pods], Container]


SPEAK = """
import random, threading, time
def speak():
    while True:
        print("".join(random.choices("ab", k=60000)), flush=True)
        time.sleep(0.2)
threading.Thread(target=speak, daemon=True).start()
"""


def _run(
    pods: Pods,
    said: Mapping[str, str],
    mounts: Callable[[str], tuple[Mount, ...]] | None = None,
    *,
    first: str = f"print('{'a' * 64}!', flush=True)",
) -> Container:
    own = {f"glowplug.dev/{name.replace('_', '-')}": text for name, text in said.items()}
    annotations = {"glowplug.dev/containers": "main", **own}
    pod = pods.run(name=generated_name("evil"), namespace="evil", annotations=annotations)
    root = f"{pods.node.names.state}/kubelet/pods/{pod.spec.uid}/volume-subpaths/data/main"
    os.makedirs(root)
    program = (f"/{PYTHON}", "-c", f"{first}\n{DRIP}")
    container = pod.container(
        command=program, env={"CASE": secrets.token_hex(4)}, mounts=mounts(root) if mounts else ()
    )
    container.start()
    return container


def fifo(pods: Pods) -> Container:
    """An open waits for its other end, like that of a dead NFS server's client."""

    def mounts(root: str) -> tuple[Mount, ...]:
        os.makedirs(f"{root}/0")
        os.mkfifo(f"{root}/0/pipe")
        return (Mount(container_path="/model", host_path=f"{root}/0"),)

    return _run(pods, {"ready": "tcp://:8000"}, mounts)


def device_and_loop(pods: Pods) -> Container:
    """A device without an end, by a link out of the volume; links that lead to each other; a directory in itself."""

    def mounts(root: str) -> tuple[Mount, ...]:
        os.makedirs(f"{root}/0")
        os.symlink("/dev/zero", f"{root}/0/zero")
        os.symlink("b", f"{root}/0/a")
        os.symlink("a", f"{root}/0/b")
        os.symlink(".", f"{root}/0/itself")
        return (Mount(container_path="/model", host_path=f"{root}/0"),)

    return _run(pods, {"ready": "tcp://:8000"}, mounts)


def many_files(pods: Pods) -> Container:
    """More than anybody would read."""

    def mounts(root: str) -> tuple[Mount, ...]:
        for number in range(FILES):
            if number % 1000 == 0:
                os.makedirs(f"{root}/0/{number // 1000}")
            os.close(os.open(f"{root}/0/{number // 1000}/{number}", os.O_CREAT | os.O_WRONLY))
        return (Mount(container_path="/model", host_path=f"{root}/0"),)

    return _run(pods, {"ready": "tcp://:8000"}, mounts)


def expression(pods: Pods) -> Container:
    """One that backtracks forever on the line that its pod writes."""
    return _run(pods, {"ready": "log:^(a+)+$"})


def slow_expression(pods: Pods) -> Container:
    """One that takes long even where nothing backtracks, on lines without an end."""
    return _run(pods, {"ready": "log:(.{1,100}a){9}c"}, first=SPEAK)


def large_expression(pods: Pods) -> Container:
    """One that takes long to compile."""
    return _run(pods, {"ready": r"log:(?i)" + r"\pL" * 320})


def dripping(pods: Pods) -> Container:
    """A server that answers a byte at a time."""
    return _run(pods, {"ready": "http://:8000/health"})


def hanging_hook(pods: Pods) -> Container:
    """Before its capture, for as long as it may."""
    return _run(pods, {"ready": "tcp://:8000", "before_capture": "exec:sleep 590", "hook_timeout": "10m"})


def peaceful(pods: Pods) -> Container:
    """For comparison: the same program in a pod of the same kind, of which nobody has to ask anything."""
    return _run(pods, {"ready": "tcp://:8000", "capture": "never"})


ALL: dict[str, Hostile] = {
    one.__name__: one
    for one in (
        fifo,
        device_and_loop,
        many_files,
        expression,
        slow_expression,
        large_expression,
        dripping,
        hanging_hook,
    )
}


def unblock(container: Container) -> None:
    """Open the other end of its FIFOs, so that what waits for them continues: a test leaves no stuck thread."""
    for mount in container.spec.mounts:
        path = f"{mount.host_path}/pipe"
        if os.path.exists(path):
            threading.Thread(target=_open_and_close, args=(path,), daemon=True).start()


def _open_and_close(path: str) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
