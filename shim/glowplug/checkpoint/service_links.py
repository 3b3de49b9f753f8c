"""Service links: the variables by which a kubelet tells a container of every service of its namespace.

For a service X they are X_SERVICE_HOST, X_SERVICE_PORT, X_SERVICE_PORT_NAME for each named port, X_PORT, and
X_PORT_80_TCP with _PROTO, _PORT and _ADDR for each port (Kubernetes, "Accessing the Service"). A namespace may have
a thousand of them, so each name is parsed once: the time is linear in the number of variables.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address

Group = dict[str, str]  # variable → value

_HOST = "_SERVICE_HOST"
_NAMED_PORT = "_SERVICE_PORT_"
_PREFIX = re.compile(r"[A-Z_][A-Z0-9_]*")
_OF_PORT = re.compile(r"(.+)_PORT_([0-9]+)_(TCP|UDP|SCTP)(?:_PROTO|_PORT|_ADDR)?")


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
        of_port = _OF_PORT.fullmatch(name)
        if of_port and of_port[1] in prefixes:
            ports[of_port[1]].add((of_port[2], of_port[3]))
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
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
