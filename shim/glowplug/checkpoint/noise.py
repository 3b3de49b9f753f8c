"""What differs between two pods of one kind and says nothing about the process: noise in env and args.

Recognised by value, against what is known of this sandbox, or as a whole group of service links; never by a
name alone. How sure a value must be depends on how easily it could mean something else:

    distinctive (a long uid, an IP address)     anywhere in a value, where it stands on its own
    made by a machine (name-7d9f8c6b5d-x2k4q)   as the whole value
    any other name ("llama-3", "web-0")         as the whole value of a variable or flag that speaks of it:
                                                a pod called llama-3 must not hide --model=llama-3
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address


@dataclass(frozen=True)
class SandboxFacts:
    """What is known of the pod sandbox and its node; empty where it is not known."""

    name: str
    namespace: str
    uid: str
    ips: tuple[str, ...] = ()
    hostname: str = ""
    node_names: tuple[str, ...] = ()
    node_ips: tuple[str, ...] = ()

    @cached_property
    def anywhere(self) -> tuple[tuple[str, str], ...]:
        """Distinctive values, each with its placeholder."""
        values = [(ip, "pod-ip") for ip in self.ips] + [(ip, "node-ip") for ip in self.node_ips]
        values += [(self.uid, "pod-uid")] if len(self.uid) >= _LONG else []
        return tuple((value, _placeholder(what)) for value, what in values if _is_own(value))

    @cached_property
    def whole(self) -> tuple[tuple[str, str, frozenset[str]], ...]:
        """Names: (value, placeholder, words of which a variable's name must hold one unless machine-made)."""
        named = [(self.name, "pod-name", _POD_WORDS), (self.hostname, "hostname", _POD_WORDS)]
        named += [(name, "node-name", _NODE_WORDS) for name in self.node_names]
        named += [(self.uid, "pod-uid", _UID_WORDS)]
        return tuple((value, _placeholder(what), words) for value, what, words in named if value)


_LONG = 16  # characters; a uid of the API server has 36, of a static pod 32
_POD_WORDS = frozenset(("pod", "podname", "hostname", "host"))
_NODE_WORDS = frozenset(("node", "nodename", "hostname", "host"))
_UID_WORDS = frozenset(("uid", "poduid"))
# What Kubernetes appends with generateName: five of its safe letters, behind a hash in pods of a Deployment.
_MACHINE_MADE = re.compile(r".+-[bcdfghjklmnpqrstvwxz2456789]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}")


def by_value(sandbox: SandboxFacts, name: str, value: str) -> str:
    """The value with noise replaced by placeholders; `name` is the variable or flag that it stands behind.

    A placeholder holds a NUL, which no variable or argument can: nobody can write one.
    """
    if "\0" in value:
        return value
    for known, placeholder, words in sandbox.whole:
        if value == known and (_MACHINE_MADE.fullmatch(known) or words & _words(name)):
            return placeholder
    for known, placeholder in sandbox.anywhere:
        if known in value:  # rarely: a pattern for each address of each pod would cost milliseconds
            value = _standing_alone(known).sub(placeholder, value)
    return value


def shown(value: str) -> str | None:
    """How a value that is a placeholder and nothing else is shown, "<pod-name>"; None for any other."""
    inner = value.removeprefix("\0").removesuffix("\0")
    return f"<{inner}>" if value == _placeholder(inner) and "\0" not in inner else None


def in_args(sandbox: SandboxFacts, args: Iterable[str]) -> list[str]:
    """The arguments with noise replaced: each whole, behind its own "=", or behind the flag before it."""
    found, before = [], ""
    for arg in args:
        flag, equals, value = arg.partition("=")
        if equals and flag.startswith("-"):
            found.append(flag + equals + by_value(sandbox, flag, value))
        else:
            found.append(by_value(sandbox, before, arg))
        before = arg if arg.startswith("-") else ""
    return found


def service_links(env: Mapping[str, str]) -> set[str]:
    """The variables of every whole and consistent service-link group.

    For a service X the kubelet sets X_SERVICE_HOST, X_SERVICE_PORT, X_SERVICE_PORT_NAME for each named port,
    X_PORT, and X_PORT_80_TCP with _PROTO, _PORT and _ADDR for each port. All must be there and agree on the
    address and the ports; else none of the group is noise.
    """
    hosts = (name for name in env if name.endswith(_HOST) and _PREFIX.fullmatch(name.removesuffix(_HOST)))
    return set().union(*(_group(env, name.removesuffix(_HOST)) for name in hosts))


_HOST = "_SERVICE_HOST"
_PREFIX = re.compile(r"[A-Z_][A-Z0-9_]*")


def _group(env: Mapping[str, str], prefix: str) -> set[str]:
    host, first = env[f"{prefix}{_HOST}"], env.get(f"{prefix}_SERVICE_PORT", "")
    of_port = re.compile(rf"{prefix}_PORT_([0-9]+)_(TCP|UDP|SCTP)")
    ports = {(found[1], found[2]) for found in map(of_port.fullmatch, env) if found}
    wanted = {f"{prefix}{_HOST}": host, f"{prefix}_SERVICE_PORT": first}
    for port, protocol in ports:
        wanted |= _link(host, port, protocol, f"{prefix}_PORT_{port}_{protocol}")
    named = {name for name in env if name.startswith(f"{prefix}_SERVICE_PORT_")}
    numbers = {port for port, _ in ports}
    if not _is_ip(host) or first not in numbers or any(env[name] not in numbers for name in named):
        return set()
    urls = {wanted[f"{prefix}_PORT_{port}_{protocol}"] for port, protocol in ports if port == first}
    if env.get(f"{prefix}_PORT") not in urls or any(env.get(name) != value for name, value in wanted.items()):
        return set()
    return {*wanted, *named, f"{prefix}_PORT"}


def _link(host: str, port: str, protocol: str, name: str) -> dict[str, str]:
    address = f"[{host}]" if ":" in host else host
    return {
        name: f"{protocol.lower()}://{address}:{port}",
        f"{name}_PROTO": protocol.lower(),
        f"{name}_PORT": port,
        f"{name}_ADDR": host,
    }


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_own(value: str) -> bool:
    """Whether the value can stand for one pod or node: not loopback, not "any address"."""
    if not _is_ip(value):
        return bool(value)
    address = ip_address(value)
    return not (address.is_loopback or address.is_unspecified)


def _standing_alone(value: str) -> "re.Pattern[str]":
    around = r"0-9A-Za-z:" if ":" in value else r"0-9A-Za-z\-"
    return re.compile(rf"(?<![{around}.]){re.escape(value)}(?![{around}]|\.[0-9A-Za-z])")


def _placeholder(what: str) -> str:
    return f"\0{what}\0"


def _words(name: str) -> frozenset[str]:
    return frozenset(re.split(r"[^a-z0-9]+", name.lower()))
