"""The agent restarts when what it has loaded was replaced: the NVIDIA driver, or CRIU.

NVML stays in the process that has loaded it (nvmlShutdown leaves the library), and a library of one driver does not
talk to the module of another. So the process replaces itself, in order: its pid and its unit stay.
"""

import logging
import os
import sys
from typing import NoReturn

log = logging.getLogger("glowplug.agent")

DRIVER = "/sys/module/nvidia/version"

Fingerprint = tuple[str, tuple[int, int, int]]


def fingerprint(criu: str) -> Fingerprint:
    """Changes with the driver's module and with the CRIU program."""
    try:
        with open(DRIVER) as file:
            driver = file.read().strip()
    except OSError:
        driver = ""
    try:
        found = os.stat(criu)
        program = (found.st_ino, found.st_size, found.st_mtime_ns)
    except OSError:
        program = (0, 0, 0)
    return driver, program


def again() -> NoReturn:
    """This program, from its beginning, in this process. Raises OSError."""
    log.info("restarts")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
