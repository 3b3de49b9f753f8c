"""Service links: the variables by which a kubelet gives a container every service of its namespace.

For a service X they are X_SERVICE_HOST, X_SERVICE_PORT, X_SERVICE_PORT_NAME for each port with a name, X_PORT, and
X_PORT_80_TCP with _PROTO, _PORT and _ADDR for each port (Kubernetes, "Accessing the Service"). A namespace may have
a thousand of them, so each name is parsed once: the time is linear in the number of variables.
"""

import re
import socket
from collections.abc import Mapping

Group = dict[str, str]  # variable → value

_HOST = "_SERVICE_HOST"
_PORT_BY_NAME = "_SERVICE_PORT_"
_PREFIX = re.compile(r"[A-Z0-9_]+")
_UPPER = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP"}
_PROTOCOLS = tuple(f"_{protocol}" for protocol in _UPPER.values())
_OF_ONE_PORT = 7
_NUMBERS = tuple(f"{protocol}_PORT" for protocol in _PROTOCOLS)


def groups(env: Mapping[str, str]) -> dict[str, Group]:
    """The complete and consistent groups by their prefix (rule 3.4).

    All variables of a group must be there and agree on the address and the ports; else none of it is a link.
    """
    prefixes = [name.removesuffix(_HOST) for name in env if name.endswith(_HOST)]
    found = {prefix: group for prefix in prefixes if (group := _first_port(env, prefix))}
    for prefix in _add_more(env, found) if found else ():
        del found[prefix]
    return found


def names(found: Mapping[str, Group]) -> set[str]:
    """Every variable of any of the groups."""
    return set().union(*found.values())


def text(group: Group) -> str:
    """The same text for the same group, and another for any other of that prefix.

    The seven variables of one port have an order, and their names follow from their values.
    """
    if len(group) == _OF_ONE_PORT:
        return "\0".join(group.values())
    return "\0".join(f"{name}={group[name]}" for name in sorted(group))


def _first_port(env: Mapping[str, str], prefix: str) -> Group:
    """The seven variables of a service's first port; {} where they are not all there and agree.

    Most services have no other port, so these are looked up by name and nothing is searched for.
    """
    host_name, port_name, url_name = prefix + _HOST, prefix + "_SERVICE_PORT", prefix + "_PORT"
    host, port, url = env.get(host_name, ""), env.get(port_name, ""), env.get(url_name, "")
    protocol = url.partition(":")[0]
    if protocol not in _UPPER or not port.isdecimal():
        return {}
    link = _link(host, port, protocol, prefix)
    if url not in link.values() or not _holds(env, link):
        return {}
    if not _PREFIX.fullmatch(prefix) or not _is_ip(host):
        return {}
    return {host_name: host, port_name: port, url_name: url, **link}


def _holds(env: Mapping[str, str], link: Group) -> bool:
    return [*map(env.get, link)] == [*link.values()]


def _add_more(env: Mapping[str, str], found: dict[str, Group]) -> set[str]:
    """Put the variables of further ports, also those with a name, into their groups; which groups disagree."""
    rest = env.keys() - names(found)
    wrong = set()
    for name in rest:
        prefix, port, protocol = _parsed(name)
        if prefix in found:
            link = _link(found[prefix][prefix + _HOST], port, protocol.lower(), prefix)
            if not _holds(env, link):
                wrong.add(prefix)
            found[prefix] |= link
    for name in rest:
        prefixes = [prefix for prefix in _before(name, _PORT_BY_NAME) if prefix in found]
        theirs = [prefix for prefix in prefixes if env[name] in _ports(found[prefix])]
        for prefix in theirs:
            found[prefix][name] = env[name]
        if not theirs:
            wrong.update(prefixes)
    return wrong


def _ports(group: Group) -> set[str]:
    return {value for name, value in group.items() if name.endswith(_NUMBERS)}


def _parsed(name: str) -> tuple[str, str, str]:
    """Of X_PORT_80_TCP: X, 80, TCP; three times "" of any other name."""
    if name.endswith(_PROTOCOLS) and name.count("_") > 2:
        head, port, protocol = name.rsplit("_", 2)
        if head.endswith("_PORT") and port.isdecimal():
            return head.removesuffix("_PORT"), port, protocol
    return "", "", ""


def _before(name: str, part: str) -> list[str]:
    """What stands before each occurrence of `part`: a service's name may contain it too."""
    found, at = [], name.find(part)
    while at >= 0:
        found.append(name[:at])
        at = name.find(part, at + 1)
    return found


def _link(host: str, port: str, protocol: str, prefix: str) -> Group:
    """The four variables of a port; `protocol` in small letters."""
    name = f"{prefix}_PORT_{port}_{_UPPER[protocol]}"
    return {
        name: f"{protocol}://[{host}]:{port}" if ":" in host else f"{protocol}://{host}:{port}",
        name + "_PROTO": protocol,
        name + "_PORT": port,
        name + "_ADDR": host,
    }


def _is_ip(text: str) -> bool:
    """A tenth of the time that ipaddress takes."""
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        return False
    return True
