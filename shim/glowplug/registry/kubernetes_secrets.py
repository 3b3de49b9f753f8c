"""The registry's settings with the Kubernetes Secrets that they name, for one namespace, read by API."""

from collections.abc import Iterator
from contextlib import contextmanager

from glowplug.config import Config
from glowplug.errors import UsageError
from glowplug.registry import secrets
from glowplug.registry.settings import RegistrySettings


@contextmanager
def registry(config: Config, namespace: str) -> Iterator[RegistrySettings]:
    """`config.registry`, its references to Secrets resolved. Raises UsageError, KubernetesError."""
    if not secrets.are_configured(config.registry):
        yield config.registry
        return
    from glowplug.apiserver.client import Api, is_in_a_pod  # only where Secrets are referred to

    if config.kubernetes == "off" or (config.kubernetes == "auto" and not is_in_a_pod()):
        raise UsageError(
            "registry: the configuration names a Kubernetes Secret, and no API server: set kubernetes to a kubeconfig"
        )
    with secrets.fetched(config.registry, namespace, Api(config.kubernetes).secret) as found:
        yield found
