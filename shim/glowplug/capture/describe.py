"""The manifest of a capture: all that is known of it besides its bytes."""

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from glowplug.cache.digest import FileEntry
from glowplug.checkpoint import requirements
from glowplug.checkpoint.manifest import File, Key, Layer, Manifest, Measured, Process, Sizes
from glowplug.host import facts

if TYPE_CHECKING:
    from glowplug.capture.pipeline import Work

SHARE = "glowplug.dev/share"


def manifest(work: "Work", files: Mapping[str, FileEntry]) -> Manifest:
    """All that is known of the capture. Raises HostError."""
    assert work.subject is not None and work.found is not None and work.layer is not None
    bundle = work.subject.bundle
    host = facts.read(".".join(str(number) for number in work.criu_version))
    listed = {
        path: File(str(file["kind"]), int(file["size"]), str(file["digest"])) for path, file in files.items()
    }
    return Manifest(
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        namespace=bundle.sandbox_namespace,
        pod=bundle.sandbox_name,
        container=bundle.container_name,
        node=os.uname().nodename,
        shared=bundle.annotations.get(SHARE) == "cluster",
        image_name=bundle.image_name,
        key=Key(work.found.key.digest, work.found.key.parts),
        requirements=requirements.require(host, requirements.given(bundle, ())),
        processes=tuple(_process(found) for found in work.processes),
        files=listed,
        sizes=_sizes(listed),
        measured=Measured(pause_s=work.result.pause_s, dump_s=work.result.phases["dump"]),
        layer=Layer(files=work.layer.entries, bytes=work.layer.bytes, deleted=0),
        settings={},
    )


def _process(found: Mapping[str, object]) -> Process:
    return Process(**{name: value for name, value in found.items() if name != "state"}, cuda=False)  # type: ignore[arg-type]


def _sizes(files: Mapping[str, File]) -> Sizes:
    def of(*kinds: str) -> int:
        return sum(file.size for file in files.values() if file.kind in kinds)

    return Sizes(
        cpu_memory=of("pages", "memory"), gpu_memory=0, layer=of("layer"), shm=of("shm"), images=of("image")
    )
