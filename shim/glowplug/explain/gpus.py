"""Which GPUs are assigned to a container that is being created, and how a checkpoint's GPUs map to them.

NVML is queried, and imported, only for a container with a GPU.
"""

import threading
from contextlib import suppress

from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.manifest import Manifest
from glowplug.checkpoint.requirements import Gpu, asks_for_gpu
from glowplug.errors import HostError


def of(facts: BundleFacts) -> tuple[Gpu, ...] | None:
    """The container's GPUs; None where that can't be known."""
    if not asks_for_gpu(facts):
        return ()
    from glowplug.cuda import assigned_devices
    from glowplug.cuda import facts as node

    try:
        return tuple(device.gpu for device in assigned_devices.devices_of(facts, node.recent().devices))
    except HostError:
        return None


def read_ahead(facts: BundleFacts) -> None:
    """Begin to query NVML, beside other work, for a container with a GPU: `of` and `map_to` need it within a second."""
    if asks_for_gpu(facts):
        threading.Thread(target=_read, name="nvml", daemon=True).start()


def _read() -> None:
    from glowplug.cuda import facts

    with suppress(HostError):  # `of` raises it, too
        facts.recent()


def map_to(manifest: Manifest, gpus: tuple[Gpu, ...]) -> str:
    """`old=new,…` of UUIDs, or "" where nothing changes.

    Raises CudaError where there is no such map, HostError.
    """
    if not manifest.gpus:
        return ""
    from glowplug.cuda import facts, uuids
    from glowplug.cuda.device_map import device_map

    return uuids.to_text(device_map(manifest.gpus, gpus, facts.recent().cuda))
