"""The registry that the node is configured with, opened for one namespace."""

from collections.abc import Iterator
from contextlib import contextmanager

from glowplug.errors import UsageError
from glowplug.registry import credentials, peers
from glowplug.registry.client import Repository
from glowplug.registry.names import is_namespace
from glowplug.registry.settings import RegistrySettings
from glowplug.registry.transport import Tls, Transport

_MIRROR_TRIES = 1
"""A mirror that fails is left out for this blob: the registry itself has it."""
_MIRROR_TIMEOUT_S = 10.0


@contextmanager
def repository(settings: RegistrySettings, namespace: str) -> Iterator[Repository]:
    """The namespace's repository. Raises UsageError: no registry, no such credentials, no namespace."""
    if not settings.is_configured:
        raise UsageError("registry.repository is not set: see docs/registry.md")
    if not is_namespace(namespace):
        raise UsageError(f"{namespace[:80]!r} is not a Kubernetes namespace")
    tls = Tls(settings.ca, settings.certificate, settings.key)
    known = credentials.of(settings.credentials, settings.host)
    scheme = "https" if settings.tls else "http"
    origin = Transport(f"{scheme}://{settings.host}", known, tls, settings.parallel)
    mirrors = [
        Transport(
            base,
            credentials.of(settings.credentials, base.partition("//")[2].rstrip("/")),
            tls,
            settings.parallel,
            timeout_s=_MIRROR_TIMEOUT_S,
            tries=_MIRROR_TRIES,
        )
        for base in settings.mirrors
    ]
    nodes = peers.transports(settings)
    try:
        yield Repository(origin, settings.path(namespace), mirrors, nodes, remembers=bool(settings.serve))
    finally:
        for one in (origin, *mirrors, *nodes):
            one.close()
