"""Random tokens, drawn once: a process that has the same ones later is the same, or a restored one."""

import hashlib
import os
import secrets

LAYER_FILE = "/data/token"
SHM_FILE = "/dev/shm/token"


class Tokens:
    """`memory` is in this process alone; `layer` and `shm` are read back from their files at each look."""

    def __init__(self, memory: str, ballast: bytearray, errors: dict[str, str]) -> None:
        self.memory = memory
        self.ballast = ballast
        self.errors = errors
        # Kept open: a file in /dev/shm that no process holds is nobody's.
        self._shm = open(SHM_FILE) if "shm" not in errors else None  # noqa: SIM115

    def look(self) -> dict[str, object]:
        """What is there now; for a file that could not be written, why."""
        return {
            "memory": self.memory,
            "layer": self.errors.get("layer") or _read(LAYER_FILE),
            "shm": self.errors.get("shm") or self._read_open(),
            "ballast": hashlib.sha256(self.ballast).hexdigest(),
        }

    def _read_open(self) -> str:
        if self._shm is None:
            return ""
        self._shm.seek(0)
        opened = self._shm.read()
        return opened if opened == _read(SHM_FILE) else f"open {opened}, by name {_read(SHM_FILE)}"


def draw(ballast_mb: int) -> Tokens:
    """New tokens, and random memory of that many MiB."""
    errors = {}
    for name, path in (("layer", LAYER_FILE), ("shm", SHM_FILE)):
        try:
            with open(path, "w") as file:
                file.write(secrets.token_hex(16))
        except OSError as error:
            errors[name] = f"{type(error).__name__} {error.errno}"
    ballast = bytearray()
    for _ in range(ballast_mb):
        ballast += os.urandom(1 << 20)
    return Tokens(secrets.token_hex(16), ballast, errors)


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        return f"{type(error).__name__} {error.errno}"
