"""The installer's image, made while earlier tests run: it takes minutes, most of them for Debian's roots and CRIU."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from hack.clusterlib.place import REPOSITORY

NAME = "cluster.test/installer:1"
MADE_WITHIN_S = 900.0


class InstallerImage:
    """An OCI archive under way."""

    def __init__(self, archive: str, log: str, process: "subprocess.Popen[bytes]") -> None:
        self._archive = archive
        self._log = log
        self._process = process

    def archive(self) -> str:
        """Its path, once it is complete. Raises AssertionError with the log's end."""
        status = self._process.wait(MADE_WITHIN_S)
        with open(self._log) as file:
            assert status == 0, file.read()[-2000:]
        return self._archive


@contextmanager
def made_meanwhile(directory: str) -> Iterator[InstallerImage]:
    """For nodes with Debian 12, in `directory`. Ended in order where nobody waited for it."""
    archive, log = f"{directory}/installer.tar", f"{directory}/installer.log"
    with open(log, "wb") as file:
        process = subprocess.Popen(
            ["nice", "-n", "5", f"{REPOSITORY}/hack/image", NAME, archive, "bookworm"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield InstallerImage(archive, log, process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(MADE_WITHIN_S)
        if os.path.exists(archive):
            os.unlink(archive)
