"""The new pod's address for each of the old pod's that a captured socket is bound to."""

import ipaddress
import os

from glowplug.errors import CriuError
from glowplug.podnet import addresses


def instead_of(old: tuple[str, ...], spec: dict[str, object]) -> dict[str, str]:
    """Old to new, by family. Raises CriuError where it is not plain which one takes an old one's place."""
    if not old:
        return {}
    new = _of_pod(spec)
    found = {}
    for address in old:
        family = ipaddress.ip_address(address).version
        rivals = [other for other in old if ipaddress.ip_address(other).version == family]
        there = [other for other in new if other.version == family]
        if len(rivals) != 1 or len(there) != 1:
            raise CriuError(
                f"a socket is bound to {address}: wanted one IPv{family} address in the old and in the new pod, "
                f"found {len(rivals)} and {len(there)}; bind it to the wildcard address"
            )
        found[address] = str(there[0])
    return found


def of_pod(spec: dict[str, object]) -> list[str]:
    """All of the new pod's, for whoever only wants to know them; none where they can't be told."""
    try:
        return [str(address) for address in _of_pod(spec)]
    except (CriuError, OSError):
        return []


def _of_pod(spec: dict[str, object]) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Of the network namespace that the spec joins, as its sandbox's process sees it; without link-local ones."""
    linux = spec.get("linux")
    namespaces = linux.get("namespaces") if isinstance(linux, dict) else None
    for namespace in namespaces if isinstance(namespaces, list) else []:
        if namespace.get("type") == "ipc":
            pause = addresses.process_of(str(namespace.get("path")))
            if pause is not None and os.path.isdir(f"/proc/{pause}"):
                found = map(ipaddress.ip_address, addresses.of_process(pause))
                return [address for address in found if not address.is_link_local]
    raise CriuError("wanted the new pod's addresses, found no process of its sandbox")
