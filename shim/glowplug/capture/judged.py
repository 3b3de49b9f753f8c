"""Judgements kept in the run directory, one file per container; and the bundle that runc has of a container.

The files are root's alone and go with the node's boot. A container without one was made while no agent ran.
"""

import contextlib
import json
import os
import threading
from collections.abc import Mapping
from typing import Any

from glowplug import paths
from glowplug.capture import identity
from glowplug.checkpoint import bundle, withheld
from glowplug.checkpoint import judgement as judgements
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.judgement import Judgement
from glowplug.checkpoint.oci import Spec
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.errors import HostError
from glowplug.host import seccomp

_NONE: Mapping[str, str] = {}

DECIDED = ".decided"
LIMIT = 4 << 20
"""Of a spec or a runc state, in bytes: more is none that containerd wrote."""


def judge(
    containerd: Containerd,
    record: ContainerRecord,
    spec: Spec,
    facts: BundleFacts,
    salt: bytes,
    extras: Mapping[str, str | None] = _NONE,
    *,
    chosen: bool = True,
    runs: bool = False,
) -> Judgement:
    """The judgement, now. `runs`: it was started already. `extras`: as identity.of has them. Raises ContainerdError."""
    found = identity.of(containerd, record, facts, salt, runs=runs, extras=extras)
    edited = withheld.without(spec, seccomp.machine())
    return judgements.make(
        record.id,
        facts,
        found.key,
        found.against,
        spec=judgements.spec_hash(salt, spec),
        edited=judgements.spec_hash(salt, edited),
        salt=salt,
        chosen=chosen,
        files=found.files,
    )


def keep(judgement: Judgement) -> None:
    """Write it down, completely or not at all. Raises OSError."""
    path = paths.judgement(judgement.container)
    os.makedirs(paths.judgements(), 0o700, exist_ok=True)
    aside = f"{path}.{os.getpid()}-{threading.get_ident()}.new"
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(judgements.dumps(judgement))
    os.rename(aside, path)


def decide(container: str) -> None:
    """Its capture is decided, one way or the other: a restarted agent does not repeat it. Raises OSError."""
    os.makedirs(paths.judgements(), 0o700, exist_ok=True)
    os.close(os.open(_decided(container), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def is_decided(container: str) -> bool:
    """Whether `decide` was called for it."""
    return os.path.exists(_decided(container))


def _decided(container: str) -> str:
    return f"{paths.judgements()}/{container}{DECIDED}"


def of(container: str) -> Judgement | None:
    """None where none was made, or it can't be read."""
    try:
        with open(paths.judgement(container), "rb") as file:
            return judgements.loads(file.read(LIMIT))
    except (OSError, ValueError):
        return None


def forget(container: str) -> None:
    """The container is gone."""
    for path in (paths.judgement(container), _decided(container)):
        with contextlib.suppress(OSError):
            os.unlink(path)


def all_kept() -> list[str]:
    """The ids of the containers of which something is kept."""
    try:
        names = os.listdir(paths.judgements())
    except FileNotFoundError:
        return []
    return sorted({name.partition(".")[0] for name in names})


def spec_in(directory: str) -> Spec:
    """The spec in a bundle. Raises HostError."""
    return _object(f"{directory}/config.json")


def spec_of(runc_root: str, container: str) -> Spec:
    """The spec that runc made the container from: the bundle's, which others may have edited behind containerd's
    record (nvidia-container-runtime). Raises HostError."""
    return spec_in(bundle_of(runc_root, container))


def facts_of(runc_root: str, container: str) -> BundleFacts:
    """What that spec says. Raises HostError, BundleError."""
    return bundle.read(spec_of(runc_root, container))


def bundle_of(runc_root: str, container: str) -> str:
    """The bundle's directory, as runc's state names it (libcontainer's `bundle` label). Raises HostError."""
    path = f"{paths.runc_state(runc_root, container)}/state.json"
    state = _object(path)
    config = state.get("config")
    labels = config.get("labels") if isinstance(config, dict) else None
    for label in labels or ():
        name, _, directory = str(label).partition("=")
        if name == "bundle" and directory.startswith("/"):
            ours = os.path.basename(paths.restore_bundle(""))
            return os.path.dirname(directory) if os.path.basename(directory) == ours else directory
    raise HostError(f"{path} names no bundle: was the container made by runc?")


def _object(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(LIMIT))
    except (OSError, ValueError) as error:
        raise HostError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise HostError(f"{path} holds no JSON object")
    return found
