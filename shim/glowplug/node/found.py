"""The containerd of this node's kubelet: which program runs, and with which main file.

Distributions bring a containerd of their own, which is not in PATH, with a socket and a main file of their own
(makers.py); kOps starts the distribution's with another main file. The process says it by its command line. Both are
written so that an upgrade of the distribution keeps the name (lasting.py): an install is repaired long after it.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from glowplug.containerd.installed import Installed
from glowplug.errors import NodeError
from glowplug.host import proc
from glowplug.node import daemon, makers
from glowplug.node.lasting import lasting

PROGRAM = "containerd"


@dataclass(frozen=True, slots=True)
class Found:
    """`config`: containerd's main file. `program`: containerd. `socket`: where it listens; None: as the file says."""

    config: str
    program: str
    socket: str | None


def find(socket: str | None = None) -> Found | None:
    """The containerd that runs, at this socket or at one that is known; None where none does. Raises NodeError."""
    for address in [socket] if socket else [maker.socket for maker in makers.ALL]:
        process = daemon.pid(address)
        words = proc.command_line(process) if process else []
        if process and words:
            config = option(words, "config", "c") or makers.PLAIN.config
            if not config.startswith("/"):
                raise NodeError(
                    f"containerd (process {process}) was started with the relative path {config}: "
                    "name its main file with --containerd-config"
                )
            return Found(lasting(config), lasting(_program(process, words[0])), address)
    return None


def chosen(
    config: str | None, program: str | None, socket: str | None, before: Installed | None = None
) -> Found:
    """What a person said; else as the handler was installed (`before`), while that containerd is there; else what runs
    here, or lies where a distribution has it. Raises NodeError."""
    if config is None and before is not None and _is_there(before):
        there = as_installed(before)
        return Found(there.config, program or there.program, socket or there.socket)
    if config is None:
        running = find(socket)
        if running is not None and running != _usual(running):
            return Found(running.config, program or running.program, socket or running.socket)
        files = [maker.config for maker in makers.ALL if os.path.exists(maker.config)]
        config = running.config if running else next(iter(files), makers.PLAIN.config)
    return Found(config, program or PROGRAM, socket)


def as_installed(record: Installed) -> Found:
    """The containerd of an installed handler; its program may have gone with an upgrade. Raises NodeError."""
    program = record.containerd
    if program.startswith("/") and not os.access(program, os.X_OK):
        running = find(record.socket or None)
        program = running.program if running else PROGRAM
    return Found(record.config, program, record.socket or None)


def _is_there(record: Installed) -> bool:
    """Not so after a change from one distribution to another: that of before has left its files, and does not run."""
    if not os.path.exists(record.config):
        return False
    return daemon.pid(record.socket or makers.PLAIN.socket) is not None or find() is None


def _usual(running: Found) -> Found:
    """As the distribution's package has it: nothing of it needs to be set."""
    in_path = shutil.which(PROGRAM)
    same = in_path is not None and os.path.realpath(in_path) == os.path.realpath(running.program)
    return Found(makers.PLAIN.config, running.program if same else PROGRAM, makers.PLAIN.socket)


def option(words: Sequence[str], *names: str) -> str | None:
    """The value of an option as Go's flag packages take it: `-c FILE`, `--config FILE`, `--config=FILE`."""
    for place, word in enumerate(words):
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-") and name in names:
            return value if equals else next(iter(words[place + 1 :]), None)
    return None


def _program(process: int, called: str) -> str:
    """By the name that it was called with, where that is beside the program: k3s is many programs in one file."""
    try:
        program = os.readlink(f"/proc/{process}/exe").removesuffix(" (deleted)")
    except OSError:
        return called
    beside = f"{os.path.dirname(program)}/{os.path.basename(called)}"
    return beside if os.access(beside, os.X_OK) else program
