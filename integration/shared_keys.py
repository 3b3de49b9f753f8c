"""What the nodes of one fleet share, written to files, and the settings that name them."""

import os
from dataclasses import asdict

from glowplug.registry.settings import RegistrySettings
from integration import certificates
from integration.registry import Registry


def keys(directory: str) -> dict[str, object]:
    """Fields of RegistrySettings that name files, made here: keys that serve all namespaces."""
    os.makedirs(directory, exist_ok=True)
    secret = f"{directory}/fleet-secret"
    with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(os.urandom(32))
    sign_key, trusted = certificates.signing_pair(directory, "sign")
    identity, recipient = certificates.recipient_pair(directory, "recipient")
    return {
        "fleet_secret": secret,
        "sign_key": sign_key,
        "trust": {"*": (trusted,)},
        "recipients": {"*": (recipient,)},
        "identities": {"*": (identity,)},
    }


def fleet(directory: str, registry: Registry, **changes: object) -> RegistrySettings:
    """Settings of a node with such keys."""
    fields: dict[str, object] = {
        "repository": f"{registry.host}/glowplug",
        "credentials": registry.docker_config,
        "ca": registry.ca if registry.tls else "",
        "tls": registry.tls,
        **keys(directory),
    }
    return RegistrySettings(**{**fields, **changes})  # type: ignore[arg-type]


def toml_keys(settings: RegistrySettings) -> dict[str, object]:
    """The table [registry] as dotted keys of config.toml."""
    found: dict[str, object] = {}
    for name, value in asdict(settings).items():
        if isinstance(value, dict):
            found.update(
                {f'registry.{name}."{namespace}"': list(paths) for namespace, paths in value.items()}
            )
        else:
            found[f"registry.{name}"] = list(value) if isinstance(value, tuple) else value
    return found
