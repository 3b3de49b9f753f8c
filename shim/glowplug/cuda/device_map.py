"""Which GPU of the checkpoint is restored on which GPU of the pod. Pure.

The driver wants every device that the process could open in the map, with a partner of the same chip and
enough memory (cuda-checkpoint#18; listing one of two gives `invalid argument`); none at all when nothing
changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from glowplug.checkpoint.requirements import Gpu
from glowplug.cuda.driver import API_580
from glowplug.cuda.uuids import Pairs
from glowplug.errors import CudaError


def device_map(old: Sequence[Gpu], new: Sequence[Gpu], cuda: int) -> Pairs:
    """The pairs for a restore of what was captured on `old` in a pod with `new` assigned; () when they are
    the same.

    cuda: the driver's CUDA version (13000). Raises CudaError when there is no map.
    """
    if {gpu.uuid for gpu in old} == {gpu.uuid for gpu in new}:
        return ()
    if any(gpu.mig for gpu in (*old, *new)):
        raise CudaError(
            "expected full GPUs to restore on another GPU, got MIG enabled: the driver can't map slices"
        )
    if cuda < API_580:
        raise CudaError(
            f"expected driver 580 (CUDA {API_580}) to restore on another GPU than the captured one, got CUDA {cuda}"
        )
    if len(old) != len(new):
        raise CudaError(f"expected {len(old)} GPUs as at the capture, got {len(new)}")
    stay = {gpu.uuid for gpu in old} & {gpu.uuid for gpu in new}
    free = [gpu for gpu in new if gpu.uuid not in stay]
    pairs = [(uuid, uuid) for uuid in sorted(stay)]
    # The largest picks first, so that a small one does not take the only partner that a large one has.
    for gpu in sorted((gpu for gpu in old if gpu.uuid not in stay), key=lambda gpu: -gpu.memory_bytes):
        partner = next((other for other in free if _serves(gpu, other)), None)
        if partner is None:
            found = ", ".join(f"{other.product} with {other.memory_bytes} bytes" for other in free)
            raise CudaError(
                f"expected a {gpu.product} (compute capability {gpu.compute_capability}) "
                f"with {gpu.memory_bytes} bytes for captured {gpu.uuid}, got {found}"
            )
        free.remove(partner)
        pairs.append((gpu.uuid, partner.uuid))
    return tuple(pairs)


def _serves(old: Gpu, new: Gpu) -> bool:
    return (
        new.product == old.product
        and new.compute_capability == old.compute_capability
        and new.memory_bytes >= old.memory_bytes
    )
