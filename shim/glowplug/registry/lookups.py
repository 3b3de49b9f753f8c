"""What came of the last look into the registry for a workload: why it has no checkpoint from there.

A small file for each namespace and key in the run directory, so that the agent's next answer and `glowplug explain` say
the same, and another agent continues where one ended.
"""

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass

from glowplug import paths

KEPT_S = 7 * 86_400.0
"""Older ones go."""

_OF_THE_HOST = frozenset(("pulled", "was-there", "not-found"))


@dataclass(frozen=True, slots=True)
class LookUp:
    """`slug`: pulled, was-there, or the reason of a miss; `detail`: in words. `at`: seconds since the epoch."""

    slug: str
    detail: str
    at: float

    @property
    def is_refusal(self) -> bool:
        """Whether there was something, and it was not taken in."""
        return self.slug not in _OF_THE_HOST


def write(namespace: str, key_digest: str, slug: str, detail: str) -> None:
    """Nothing is lost where it can't be written but the reason of a cold start."""
    path = _path(namespace, key_digest)
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(LookUp(slug, detail, round(time.time(), 3))), file)
        os.rename(f"{path}.new", path)


def read(namespace: str, key_digest: str) -> LookUp | None:
    """None where nobody looked."""
    try:
        with open(_path(namespace, key_digest), "rb") as file:
            plain = json.load(file)
        return LookUp(str(plain["slug"]), str(plain["detail"]), float(plain["at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget_old() -> None:
    """Of workloads that nobody starts any more."""
    directory = f"{paths.RUN_DIR}/registry"
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            with contextlib.suppress(OSError):
                if time.time() - os.lstat(f"{directory}/{name}").st_mtime > KEPT_S:
                    os.unlink(f"{directory}/{name}")


def _path(namespace: str, key_digest: str) -> str:
    """Both were checked: a namespace's name, and a digest."""
    return f"{paths.RUN_DIR}/registry/{namespace}.{key_digest}.json"
