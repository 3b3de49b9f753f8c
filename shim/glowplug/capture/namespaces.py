"""The uids of Kubernetes' namespaces, as this node's agent last read them; for rule 7.2 of docs/matching.md.

A namespace that was deleted and made again has its name, and is another. The agent writes them down where it may list
namespaces, and each maker of a key reads them there, so that all make the same one. On a node whose agent may not,
nobody says.
"""

import json
import os
import time
from collections.abc import Mapping

from glowplug import paths


def uid(namespace: str) -> str:
    """Empty where nobody says."""
    try:
        with open(paths.namespaces(), "rb") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return ""
    return str(found.get(namespace, "")) if isinstance(found, dict) else ""


def known(within_s: float) -> dict[str, str]:
    """All of them with their uids; {} where nobody reported within so many seconds."""
    try:
        if time.time() - os.stat(paths.namespaces()).st_mtime > within_s:
            return {}
        with open(paths.namespaces(), "rb") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return {str(name): str(uid) for name, uid in found.items()} if isinstance(found, dict) else {}


def note(uids: Mapping[str, str]) -> None:
    """Write them down, completely or not at all. Raises OSError."""
    aside = f"{paths.namespaces()}.new"
    os.makedirs(paths.RUN_DIR, 0o700, exist_ok=True)
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump(dict(uids), file)
    os.rename(aside, paths.namespaces())
