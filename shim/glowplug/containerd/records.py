"""What containerd keeps of one container, as plain values: read from its record, no calls here.

The record is written before the container's task is made, so it is complete while the runtime runs.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError

from glowplug.checkpoint.oci import Spec
from glowplug.containerd.protos import containers_pb2, runc_options_pb2, task_events_pb2
from glowplug.errors import ContainerdError

# Labels: the first is containerd's, the others are the kubelet's.
KIND_LABEL = "io.cri-containerd.kind"
POD_NAMESPACE_LABEL = "io.kubernetes.pod.namespace"
POD_NAME_LABEL = "io.kubernetes.pod.name"
CONTAINER_NAME_LABEL = "io.kubernetes.container.name"

RUNTIME = "glowplug-runtime"

METADATA_EXTENSION = "io.cri-containerd.container.metadata"
METADATA_VERSION = "v1"


@dataclass(frozen=True, slots=True)
class CriMetadata:
    """CRI's own notes on a container: the same JSON, version v1, in containerd 1.6, 1.7 and 2.x.

    `image_ref` is the digest of the image's config. `log_path` is absolute, or empty where there is no log. Env
    values are in that JSON too, and are left there.
    """

    container_name: str
    sandbox_id: str
    image_ref: str
    log_path: str
    stop_signal: str
    stdin: bool


@dataclass(frozen=True, slots=True)
class RuncOptions:
    """The `options` of the container's runtime handler; an empty string is the shim's default.

    `binary`: BinaryName, by default runc. `root`: the parent of runc's per-namespace state directories.
    """

    binary: str
    root: str


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """One container. `created_at`: Unix time in seconds. `spec`: the OCI spec, which holds env values;
    `spec_text`: its JSON, byte for byte what is in the bundle's config.json.

    `cri` is None for what CRI did not make, and for a sandbox. `runc` is None for another runtime than
    io.containerd.runc.v2.
    """

    id: str
    snapshotter: str
    snapshot_key: str
    runc: RuncOptions | None
    labels: Mapping[str, str]
    created_at: float
    cri: CriMetadata | None
    spec: Spec = field(repr=False)
    spec_text: bytes = field(repr=False)

    @property
    def is_sandbox(self) -> bool:
        """Whether this is a pod's pause container."""
        return self.labels.get(KIND_LABEL) == "sandbox"

    @property
    def is_of_our_handler(self) -> bool:
        """Whether its shim calls glowplug-runtime."""
        return is_of_our_handler(self.runc)


def runc_options(
    runtime: containers_pb2.Container.Runtime | task_events_pb2.ContainerCreate.Runtime,
) -> RuncOptions | None:
    """None for another runtime than the stock runc shim. Raises DecodeError.

    Without an `options` table, CRI stores an empty message, or none at all: both mean the defaults.
    """
    if runtime.name != "io.containerd.runc.v2":
        return None
    options = runc_options_pb2.Options.FromString(runtime.options.value)
    return RuncOptions(options.binary_name, options.root)


def is_of_our_handler(runc: RuncOptions | None) -> bool:
    """Whether the shim calls glowplug-runtime."""
    return runc is not None and is_ours(runc.binary)


def is_ours(binary: str) -> bool:
    """Whether a BinaryName is glowplug-runtime, or a script in front of it (docs/node.md)."""
    return os.path.basename(binary).startswith(RUNTIME)


def container_record(container: containers_pb2.Container) -> ContainerRecord:
    """The values in containerd's message. Raises ContainerdError where a part of it can't be read."""
    spec = _json_object(container.id, "spec", container.spec.value)
    try:
        runc = runc_options(container.runtime)
    except DecodeError as error:
        raise ContainerdError(f"container {container.id} has runtime options that can't be read") from error
    return ContainerRecord(
        id=container.id,
        snapshotter=container.snapshotter,
        snapshot_key=container.snapshot_key,
        runc=runc,
        labels=dict(container.labels),
        created_at=container.created_at.ToNanoseconds() / 1e9,
        cri=_cri_metadata(container),
        spec=spec,
        spec_text=container.spec.value,
    )


def _cri_metadata(container: containers_pb2.Container) -> CriMetadata | None:
    if METADATA_EXTENSION not in container.extensions:
        return None
    versioned = _json_object(container.id, "CRI metadata", container.extensions[METADATA_EXTENSION].value)
    if versioned.get("Version") != METADATA_VERSION:
        raise ContainerdError(
            f"container {container.id} has CRI metadata of version {versioned.get('Version')!r}, and only "
            f"{METADATA_VERSION!r} can be read: this containerd is newer than this Glowplug"
        )
    metadata = versioned.get("Metadata") or {}
    config = metadata.get("Config") or {}
    name = config.get("metadata") or {}
    return CriMetadata(
        container_name=name.get("name", ""),
        sandbox_id=metadata.get("SandboxID", ""),
        image_ref=metadata.get("ImageRef", ""),
        log_path=metadata.get("LogPath", ""),
        stop_signal=metadata.get("StopSignal", ""),
        stdin=config.get("stdin") is True,
    )


def _json_object(container_id: str, what: str, text: bytes) -> dict[str, Any]:
    """The JSON object in `text`; empty where there is none. The text is never shown: it holds env values."""
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ContainerdError(f"container {container_id} has a {what} that is not JSON") from error
    if not isinstance(value, dict):
        raise ContainerdError(f"container {container_id} has a {what} that is not a JSON object")
    return value
