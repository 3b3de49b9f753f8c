"""The runtime handlers that a running containerd has, as CRI's Status shows them: the configuration that is active,
whatever its files say by now."""

from collections.abc import Mapping
from typing import Any

from glowplug.containerd.cri import Cri
from glowplug.containerd.records import is_ours
from glowplug.errors import ContainerdError


def active(cri: Cri) -> dict[str, str]:
    """Program (BinaryName, "" for the shim's default) of each handler, by name.

    Raises ContainerdError, also where containerd says that its runtime is not ready.
    """
    status = cri.status()
    if not status.conditions.get("RuntimeReady"):
        raise ContainerdError("containerd says that its runtime is not ready")
    return {name: program(handler) for name, handler in listed(status.config).items()}


def ours(found: Mapping[str, str]) -> dict[str, str]:
    """Those whose program is glowplug-runtime, or a script in front of it."""
    return {name: binary for name, binary in found.items() if is_ours(binary)}


def listed(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The handlers in CRI's configuration by name; what has another shape than containerd's is left out."""
    containerd = config.get("containerd")
    found = containerd.get("runtimes") if isinstance(containerd, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {name: handler for name, handler in found.items() if isinstance(handler, Mapping)}


def options(handler: Mapping[str, Any]) -> Mapping[str, Any]:
    """A handler's options for the shim: BinaryName, Root, SystemdCgroup."""
    found = handler.get("options")
    return found if isinstance(found, Mapping) else {}


def program(handler: Mapping[str, Any]) -> str:
    """A handler's BinaryName; "" where it names none."""
    return str(options(handler).get("BinaryName") or "")
