"""Service links: the variables by which a kubelet tells a container of every service of its namespace.

For a service X they are X_SERVICE_HOST, X_SERVICE_PORT, X_SERVICE_PORT_NAME for each named port, X_PORT, and
X_PORT_80_TCP with _PROTO, _PORT and _ADDR for each port (Kubernetes, "Accessing the Service"). A namespace may have
a thousand of them, so each name is parsed once: the time is linear in the number of variables.
"""

import contextlib
import re
import socket
from collections.abc import Mapping

Group = dict[str, str]  # variable → value

_HOST = "_SERVICE_HOST"
_NAMED_PORT = "_SERVICE_PORT_"
_PREFIX = re.compile(r"[A-Z_][A-Z0-9_]*")
_PROTOCOLS = ("_TCP", "_UDP", "_SCTP")


def groups(env: Mapping[str, str]) -> dict[str, Group]:
    """The whole and consistent groups by their prefix (rule 3.4).

    All variables of a group must be there and agree on the address and the ports; else none of it is a link.
    """
    prefixes = {name.removesuffix(_HOST) for name in env if name.endswith(_HOST)}
    prefixes = {prefix for prefix in prefixes if _PREFIX.fullmatch(prefix)}
    if not prefixes:
        return {}
    ports: dict[str, set[tuple[str, str]]] = {prefix: set() for prefix in prefixes}
    named: dict[str, list[str]] = {prefix: [] for prefix in prefixes}
    for name in env:
        if name.endswith(_PROTOCOLS):
            head, port, protocol = name.rsplit("_", 2) if name.count("_") > 1 else ("", "", "")
            if head.endswith("_PORT") and port.isdecimal() and head[:-5] in prefixes:
                ports[head[:-5]].add((port, protocol))
        elif _NAMED_PORT in name:
            for prefix in _before(name, _NAMED_PORT):
                if prefix in prefixes:
                    named[prefix].append(name)
    found = ((prefix, _group(env, prefix, ports[prefix], named[prefix])) for prefix in prefixes)
    return {prefix: group for prefix, group in found if group}


def _before(name: str, part: str) -> list[str]:
    """What stands before each occurrence of `part`: a service's name may hold it too."""
    found, at = [], name.find(part)
    while at >= 0:
        found.append(name[:at])
        at = name.find(part, at + 1)
    return found


def _group(env: Mapping[str, str], prefix: str, ports: set[tuple[str, str]], named: list[str]) -> Group:
    host, first = env[f"{prefix}{_HOST}"], env.get(f"{prefix}_SERVICE_PORT", "")
    numbers = {port for port, _ in ports}
    if not _is_ip(host) or first not in numbers or any(env[name] not in numbers for name in named):
        return {}
    wanted = {f"{prefix}{_HOST}": host, f"{prefix}_SERVICE_PORT": first}
    for port, protocol in ports:
        wanted |= _link(host, port, protocol, f"{prefix}_PORT_{port}_{protocol}")
    urls = {wanted[f"{prefix}_PORT_{port}_{protocol}"] for port, protocol in ports if port == first}
    url = env.get(f"{prefix}_PORT")
    if url not in urls or any(env.get(name) != value for name, value in wanted.items()):
        return {}
    return {**wanted, **{name: env[name] for name in named}, f"{prefix}_PORT": url}


def _link(host: str, port: str, protocol: str, name: str) -> Group:
    address = f"[{host}]" if ":" in host else host
    return {
        name: f"{protocol.lower()}://{address}:{port}",
        f"{name}_PROTO": protocol.lower(),
        f"{name}_PORT": port,
        f"{name}_ADDR": host,
    }


def _is_ip(text: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):  # a tenth of the time that ipaddress takes
        with contextlib.suppress(OSError, ValueError):
            socket.inet_pton(family, text)
            return True
    return False
