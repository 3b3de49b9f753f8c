"""The table `[registry]` of the node's configuration (docs/registry.md), typed. Without `repository` there is none.

Tables by namespace have an entry "*" for namespaces without one of their own; {namespace} in a path stands for the
namespace's name.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from glowplug import listen_address

SECRET = re.compile(
    r"secret:(?P<namespace>\{namespace\}|[a-z0-9-]+)/(?P<name>[a-z0-9.-]+)/(?P<key>[A-Za-z0-9._-]+)"
)
"""A key of a Kubernetes Secret, where else a path may be (secrets.py)."""

POLICIES = ("off", "push", "pull", "both")

Paths = Mapping[str, tuple[str, ...]]
"""Files, by namespace."""


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Every key with its default. Paths are absolute; times in seconds."""

    repository: str = ""
    """HOST[:PORT]/PATH; each namespace has a repository of its own beneath it. "": no registry."""
    credentials: str = ""
    """A docker config.json, or a pull secret's .dockerconfigjson."""
    ca: str = ""
    """Authorities that the registry's certificate may be of, in PEM; "": the system's."""
    certificate: str = ""
    """Ours, for peers and registries that ask for one (mTLS), in PEM."""
    key: str = ""
    tls: bool = True
    """False: a registry without TLS."""
    mirrors: tuple[str, ...] = ()
    """Queried first for blobs and manifests by digest: https://HOST[:PORT], a peer-to-peer mirror or other nodes."""
    serve: str = ""
    """ADDRESS:PORT at which this node serves what it has to other nodes; "": nowhere."""
    serve_bytes_per_s: int = 0
    """All that it serves, together; 0: no limit."""
    peers: tuple[str, ...] = ()
    """Nodes that serve: https://HOST[:PORT], each address of HOST is one."""
    peer_ca: str = ""
    """Authorities of the nodes' certificates, in PEM: of those that ask, and of those that are queried."""
    fleet_secret: str = ""
    """32 bytes or more, the same on all nodes that share checkpoints; never leaves them."""
    sign_key: str = ""
    """Private key (PEM, ECDSA P-256 or Ed25519) that signs what is pushed."""
    trust: Paths = field(default_factory=dict)
    """Public keys (PEM) whose signatures count, by namespace."""
    recipients: Paths = field(default_factory=dict)
    """Public X25519 keys (PEM) that may read what is pushed, by namespace."""
    identities: Paths = field(default_factory=dict)
    """Private X25519 keys (PEM) that read what is pulled, by namespace."""
    plain: bool = False
    """Push without encryption: everybody who can read the registry can read the memory of the process."""
    policy: str = "off"
    """Of pods that say nothing with glowplug.dev/registry: off, push, pull or both."""
    parallel: int = 4
    """Requests at the same time."""
    max_age_s: float = 0.0
    """What was pushed longer ago is not taken in; 0: no limit."""

    @property
    def is_configured(self) -> bool:
        """Whether there is a registry."""
        return bool(self.repository)

    @property
    def host(self) -> str:
        """HOST[:PORT] of the registry."""
        return self.repository.partition("/")[0]

    def path(self, namespace: str) -> str:
        """The repository of a namespace, without the host."""
        above = self.repository.partition("/")[2]
        return f"{above}/{namespace}" if above else namespace


_REPOSITORY = re.compile(
    r"(localhost|[a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
)
_MIRROR = re.compile(r"https?://[^/\s]+/?")
_PEER = re.compile(r"https://[^/\s]+/?")
_OR_SECRETS = ("credentials", "ca", "sign_key")
_FILES = ("certificate", "key", "peer_ca", "fleet_secret")
_LISTS = ("mirrors", "peers")
_FOR_PEERS = ("peer_ca", "certificate", "key")
_OF_PEERS = ("serve", "peers")
_TABLES = ("trust", "recipients", "identities")

Rule = tuple[Callable[[Any], bool], str]

_RULES: Mapping[str, Rule] = {
    "repository": (
        lambda value: isinstance(value, str) and (not value or bool(_REPOSITORY.fullmatch(value))),
        "HOST[:PORT]/PATH in lower case",
    ),
    "mirrors": (
        lambda value: (
            isinstance(value, list) and all(isinstance(one, str) and _MIRROR.fullmatch(one) for one in value)
        ),
        "a list of https://HOST[:PORT]",
    ),
    "peers": (
        lambda value: (
            isinstance(value, list) and all(isinstance(one, str) and _PEER.fullmatch(one) for one in value)
        ),
        "a list of https://HOST[:PORT]",
    ),
    "serve": (
        lambda value: isinstance(value, str) and (not value or listen_address.is_one(value)),
        "ADDRESS:PORT with an IP address",
    ),
    "serve_bytes_per_s": (lambda value: type(value) is int and value >= 0, "0 or more bytes"),
    "policy": (POLICIES.__contains__, f"one of {', '.join(POLICIES)}"),
    "parallel": (lambda value: type(value) is int and 0 < value <= 64, "an integer from 1 to 64"),
    "max_age_s": (lambda value: type(value) in (int, float) and value >= 0, "0 or more seconds"),
    "plain": (lambda value: isinstance(value, bool), "true or false"),
    "tls": (lambda value: isinstance(value, bool), "true or false"),
    **dict.fromkeys(
        _OR_SECRETS,
        (
            lambda value: isinstance(value, str) and (not value or _is_file(value)),
            "an absolute path, or secret:NAMESPACE/NAME/KEY",
        ),
    ),
    **dict.fromkeys(
        _FILES,
        (lambda value: isinstance(value, str) and (not value or value.startswith("/")), "an absolute path"),
    ),
    **dict.fromkeys(
        _TABLES,
        (
            lambda value: isinstance(value, dict) and all(_is_paths(one) for one in value.values()),
            'absolute paths, or Secrets, by namespace, such as { models = ["/etc/glowplug/models.pem"] }',
        ),
    ),
}


def of(plain: Mapping[str, Any]) -> RegistrySettings:
    """The settings of a table without problems."""
    found = dict(plain)
    for name in _TABLES:
        if name in found:
            found[name] = {namespace: tuple(paths) for namespace, paths in found[name].items()}
    for name in _LISTS:
        if name in found:
            found[name] = tuple(found[name])
    return RegistrySettings(**found)


def problems(plain: object) -> Iterator[str]:
    """One line for each key that is wrong."""
    if not isinstance(plain, Mapping):
        yield f"registry: expected a table, got {plain!r}"
        return
    known = [one.name for one in fields(RegistrySettings)]
    for name, value in plain.items():
        if name not in known:
            yield f"registry.{name}: no such key; there are: {', '.join(sorted(known))}"
            continue
        fits, form = _RULES[name]
        if not fits(value):
            yield f"registry.{name}: expected {form}, got {value!r}"
    for name in _OF_PEERS:
        missing = [one for one in _FOR_PEERS if not plain.get(one)]
        if plain.get(name) and missing:
            yield f"registry.{name}: nodes speak with each other by certificates: set {', '.join(missing)}"


def _is_paths(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and _is_file(one) for one in value)


def _is_file(text: str) -> bool:
    return text.startswith("/") or bool(SECRET.fullmatch(text))
