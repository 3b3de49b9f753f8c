"""What its pod assigns to a container on this node: the limits of its spec and those of the pod around it."""

from collections.abc import Iterable

from glowplug.checkpoint import requirements
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.requirements import ContainerResources, Gpu
from glowplug.host import pod_limits


def of(facts: BundleFacts, gpus: Iterable[Gpu] | None) -> ContainerResources:
    """As `requirements.container_resources` has it, with the pod's limits read now."""
    memory, cpu = pod_limits.read(facts.cgroups_path)
    return requirements.container_resources(facts, gpus, pod_memory=memory, pod_cpu=cpu)
