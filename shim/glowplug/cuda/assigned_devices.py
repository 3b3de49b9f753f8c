"""Which GPUs are assigned to a container, read from its spec. Pure; never assumed.

The device nodes of the final spec are what runc makes and what the device cgroup allows: CDI, a device
plugin and the NVIDIA runtime in CDI mode all end there. NVIDIA_VISIBLE_DEVICES says what was requested, not
what was assigned (CUDA base images carry `all`), and the legacy hook's nodes are in no spec: with nodes
missing, nothing is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.requirements import asks_for_gpu
from glowplug.cuda.facts import Device
from glowplug.errors import HostError

NVIDIA_MAJOR = 195
"""Major number of /dev/nvidiaN (the kernel's devices.txt)."""
_GPU_NODE = re.compile(r"/dev/nvidia([0-9]+)")


def devices_of(facts: BundleFacts, devices: Iterable[Device]) -> tuple[Device, ...]:
    """Those of the node's `devices` that are assigned to the container, by index; none where it asks for none.

    Raises HostError when that can't be known: a requested GPU that is in no device node, or a node of no
    known GPU.
    """
    known = {device.minor: device for device in devices}
    minors = {*_nodes(facts), *_bound(facts)}
    if not minors and asks_for_gpu(facts):
        raise HostError(
            "the container asks for GPUs, but none is among the device nodes of its spec: a hook adds them, so nothing "
            "says which; give GPUs through CDI (see docs/gpu.md)"
        )
    unknown = sorted(minors - set(known))
    if unknown:
        raise HostError(f"NVML knows no GPU with the device node /dev/nvidia{unknown[0]}")
    return tuple(sorted((known[minor] for minor in minors), key=lambda device: device.index))


def _nodes(facts: BundleFacts) -> Iterable[int]:
    for device in facts.devices:
        if not _GPU_NODE.fullmatch(device.path):
            continue
        if device.type not in ("c", "u") or device.major != NVIDIA_MAJOR:
            raise HostError(
                f"expected {device.path} of the spec to be character device {NVIDIA_MAJOR}:N, "
                f"got {device.type} {device.major}:{device.minor}"
            )
        yield device.minor


def _bound(facts: BundleFacts) -> Iterable[int]:
    """GPUs whose nodes are bind-mounted from the host's /dev, where NVIDIA names a node by its minor
    number.
    """
    for mount in facts.mounts:
        found = _GPU_NODE.fullmatch(mount.source)
        if mount.is_bind and found:
            yield int(found[1])
