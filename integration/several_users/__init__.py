"""Captures of containers of several users, on a machine whose root lacks CAP_SYS_RESOURCE (capture/real_user.py).

What a root with that capability may do in a capture, and this one may not, is one thing: to read other users' resource
limits by prlimit(2). CRIU gets them from /proc here, which says the same to everybody (prlimit.c, preloaded), and the
capture is made to believe that it has the capability (sitecustomize.py). Everything else is as it is.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from glowplug.capture.real_user import CAP_SYS_RESOURCE
from glowplug.host import process
from integration.images import REPOSITORY
from integration.node import CRIU, Node

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = f"{REPOSITORY}/.build/several-users"
HAS_CAPABILITY = bool(process.effective_capabilities("self") >> CAP_SYS_RESOURCE & 1)


@contextmanager
def captured(node: Node) -> Iterator[None]:
    """While the context lasts, captures of this node may have processes of several users. Its agent is restarted."""
    if HAS_CAPABILITY:
        yield
        return
    os.makedirs(BUILD, exist_ok=True)
    library, wrapper = f"{BUILD}/prlimit.so", f"{BUILD}/criu"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, f"{HERE}/prlimit.c"], check=True)
    with open(os.open(wrapper, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o755), "w") as file:
        file.write(f'#!/bin/sh\nLD_PRELOAD={library} exec {CRIU} "$@"\n')
    node.more_env = {"PYTHONPATH": HERE}
    node.write_settings({"criu": wrapper})
    node.stop_agent()
    try:
        node.start_agent()
        yield
    finally:
        node.more_env = {}
        node.write_settings({})
        node.stop_agent()
