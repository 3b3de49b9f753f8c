"""The manifest of a capture: all that is known of it besides its bytes."""

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from glowplug.cache.digest import FileEntry
from glowplug.capture import resources
from glowplug.checkpoint import requirements, settings
from glowplug.checkpoint.manifest import File, Key, Layer, Manifest, Measured, Process, Sizes
from glowplug.checkpoint.requirements import HostRequirements
from glowplug.host import facts
from glowplug.host.process import Credentials

if TYPE_CHECKING:
    from glowplug.capture.gpu import Gpu
    from glowplug.capture.work import Found, Frozen, Work

SHARE = "glowplug.dev/share"


def manifest(
    work: "Work", found: "Found", taken: "Frozen", gpu: "Gpu | None", files: Mapping[str, FileEntry]
) -> Manifest:
    """All that is known of the capture. Raises HostError."""
    facts, key = found.subject.facts, taken.judgement.key
    gpus, cuda = (gpu.gpus, gpu.namespace_pids) if gpu else ((), ())
    listed = {
        path: File(str(file["kind"]), int(file["size"]), str(file["digest"])) for path, file in files.items()
    }
    return Manifest(
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        namespace=facts.sandbox_namespace,
        pod=facts.sandbox_name,
        container=facts.container_name,
        node=os.uname().nodename,
        shared=facts.annotations.get(SHARE) == "cluster",
        image_name=facts.image_name,
        key=Key(key.digest, key.parts, key.conditions),
        requirements=row(found, gpu),
        processes=tuple(_process(one, cuda) for one in taken.processes),
        files=listed,
        sizes=_sizes(listed, gpu.device_bytes if gpu else 0),
        measured=Measured(
            cold_start_s=work.request.cold_start_s,
            pause_s=work.result.pause_s,
            dump_s=work.result.phases["dump"],
        ),
        layer=Layer(files=taken.layer.entries, bytes=taken.layer.bytes),
        settings=settings.shown(facts),
        gpus=gpus,
    )


def row(found: "Found", gpu: "Gpu | None") -> HostRequirements:
    """What the container needs of a node: what it has here. Raises HostError."""
    host = facts.read(".".join(str(number) for number in found.criu_version))
    return requirements.require(host, resources.of(found.subject.facts, gpu.gpus if gpu else ()))


def _process(found: Credentials, cuda: tuple[int, ...]) -> Process:
    return Process(**{**found.to_json(), "cuda": found.pid in cuda})


def _sizes(files: Mapping[str, File], gpu_memory: int) -> Sizes:
    def of(*kinds: str) -> int:
        return sum(file.size for file in files.values() if file.kind in kinds)

    return Sizes(
        cpu_memory=max(0, of("pages", "memory") - gpu_memory),
        gpu_memory=gpu_memory,
        layer=of("layer"),
        shm=of("shm"),
        images=of("image"),
    )
