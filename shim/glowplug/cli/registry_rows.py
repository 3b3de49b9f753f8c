"""What the registry's commands share: the registry, a reference as a person types it, and what fits this node."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from glowplug.config import Config
from glowplug.errors import HostError, UsageError

if TYPE_CHECKING:
    from glowplug.registry.client import Repository
    from glowplug.registry.look import Fits
    from glowplug.registry.settings import RegistrySettings


@contextmanager
def repository(config: Config, namespace: str) -> "Iterator[tuple[RegistrySettings, Repository]]":
    """The registry's settings for a namespace, Secrets read, and its repository there. Raises GlowplugError."""
    from glowplug.registry import kubernetes_secrets, opened

    with (
        kubernetes_secrets.registry(config, namespace) as found,
        opened.repository(found, namespace) as repository,
    ):
        yield found, repository


def tag(repository: "Repository", reference: str) -> str:
    """The tag or digest that is meant. Raises UsageError where the start of an id is none's, or several's."""
    from glowplug.registry import names

    if names.is_digest(reference) or names.is_host_tag(reference) or names.is_checkpoint_tag(reference):
        return reference
    wanted = reference.lower().rstrip("…")
    if not wanted or set(wanted) - set("0123456789abcdef"):
        raise UsageError(
            f"{reference[:80]!r} is not a checkpoint's id, tag or digest: see `glowplug registry ls`"
        )
    tags = list(repository.tags())
    if wanted in tags:
        return wanted
    found = [one for one in tags if one.startswith(names.checkpoint_tag(wanted))]
    if len(found) != 1:
        raise UsageError(
            f"{len(found) or 'no'} checkpoints of {repository.path} have an id that begins with {wanted}: "
            "see `glowplug registry ls`"
        )
    return found[0]


def this_node(config: Config) -> "Fits":
    """What of a checkpoint's requirements this node alone decides."""
    from glowplug.cuda import facts
    from glowplug.explain.verdicts import host
    from glowplug.registry import look

    try:
        gpus = tuple(device.gpu for device in facts.read().devices)
    except HostError:
        gpus = ()
    return look.on_node(host(config), gpus)
