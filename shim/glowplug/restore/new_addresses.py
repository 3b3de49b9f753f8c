"""The new pod's address for each of the old pod's that a captured socket is bound to."""

from __future__ import annotations

import os

from glowplug.errors import CriuError
from glowplug.podnet import addresses

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from glowplug.checkpoint.bundle import BundleFacts
    from glowplug.criu.image_fixups import ImageFixups


def instead_of(old: ImageFixups, facts: BundleFacts) -> dict[str, str]:
    """Old to new: the one of the same interface, and the same one of its family there. Raises CriuError, OSError.

    Of a checkpoint of an older Glowplug, which says no interfaces, the only one of its family.
    """
    if not old.addresses:
        return {}
    from glowplug.podnet import interfaces  # which few restores have a use for

    new = interfaces.places(interfaces.read(_network(facts)))
    return {address: _instead(address, old, new) for address in old.addresses}


def _instead(address: str, old: ImageFixups, new: dict[str, tuple[str, int]]) -> str:
    import ipaddress  # few bind to an address of their pod

    version = ipaddress.ip_address(address).version
    there = [other for other in new if ipaddress.ip_address(other).version == version]
    place = old.places.get(address)
    same = [other for other in there if new[other] == place]
    if same:
        return same[0]
    rivals = [other for other in old.addresses if ipaddress.ip_address(other).version == version]
    if len(rivals) == len(there) == 1:
        return there[0]
    where = f" of {place[0]}" if place else ""
    raise CriuError(
        f"a socket is bound to {address}{where}, and which of the new pod's {len(there)} IPv{version} addresses takes "
        "its place can't be known: bind it to the wildcard address"
    )


def _network(facts: BundleFacts) -> str:
    """The file of the network namespace that the spec joins. Raises CriuError."""
    path = facts.namespaces.get("network")
    if not path:
        raise CriuError("the new pod's addresses can't be read: its spec joins no network")
    return path


def of_pod(facts: BundleFacts) -> list[str]:
    """The new pod's, as its sandbox's process sees them, for information; without link-local ones, and none where they
    can't be known."""
    try:
        pause = addresses.process_of(facts.namespaces.get("ipc", ""))
        if pause is None or not os.path.isdir(f"/proc/{pause}"):
            return []
        return [found for found in addresses.of_process(pause) if not addresses.is_link_local(found)]
    except (CriuError, OSError):
        return []
