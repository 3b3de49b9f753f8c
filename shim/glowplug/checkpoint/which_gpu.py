"""Which GPU was assigned to a container, replaced wherever it is written: any GPU of one product will do (rule 5.2).

How many there are counts in the key (`key._devices`), of which product in the host requirements. All of this holds
only for a container that has NVIDIA's device nodes: a PCI address elsewhere may be a network card's.
"""

import re
from collections.abc import Iterable

WHICH = "\0gpu\0"  # a NUL is in no path, variable or argument, so nobody can write it

_QUALIFIED = r"(?:[a-z0-9.-]+/gpu=)?"  # a CDI name, as toolkits in CDI mode write it
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ONE = rf"(?:MIG-GPU-{_UUID}/[0-9]+/[0-9]+|MIG-{_UUID}|GPU-{_UUID})"
_ITEM = rf"{_QUALIFIED}(?:{_ONE}|[0-9]{{1,3}}(?::[0-9]{{1,2}})?)"
_LIST = re.compile(rf"{_ITEM}(?:,{_ITEM})*")
_UUIDS = re.compile(rf"{_ONE}(?:,{_ONE})*")

# Nodes of one GPU or one of its MIG instances → what their number is shown as.
_NODES = (
    ("NVIDIA GPUs", re.compile(r"/dev/nvidia[0-9]+")),
    ("NVIDIA MIG capabilities", re.compile(r"/dev/nvidia-caps/nvidia-cap[0-9]+")),
    ("DRM cards", re.compile(r"/dev/dri/card[0-9]+")),
    ("DRM render nodes", re.compile(r"/dev/dri/renderD[0-9]+")),
)
# The device plugin's strategy volume-mounts: the GPU is identified by where /dev/null is mounted.
_VOLUME_MOUNT = re.compile(
    rf"(/var/run/nvidia-container-devices/(?:cdi/[^/]+/[^/]+/)?)(?:{_ONE}|[0-9]{{1,3}}(?::[0-9]{{1,2}})?)"
)
_IN_TEXT = re.compile(
    rf"{_ONE}"
    r"|(?i:(?<![0-9a-f])(?:[0-9a-f]{4}|[0-9a-f]{8}):[0-9a-f]{2}:[0-9a-f]{2}\.[0-7](?![0-9a-f]))"  # a PCI address
    r"|(?<=/dev/nvidia)[0-9]+(?![0-9])"
    r"|(?<=/nvidia-cap)[0-9]+(?![0-9])"
    r"|(?:(?<=/)|(?<=^))(?:card|renderD)[0-9]+(?![0-9A-Za-z])"
    r"|(?<=/capabilities/)gpu[0-9]+(?:/mig/gi[0-9]+(?:/ci[0-9]+)?)?"
)  # fmt: skip


def has_nvidia(paths: Iterable[str]) -> bool:
    """Whether any of a container's device nodes is an NVIDIA GPU."""
    return any(_NODES[0][1].fullmatch(path) for path in paths)


def node_kind(path: str) -> str | None:
    """What a device node of one GPU is counted as; None for any other node."""
    return next((kind for kind, pattern in _NODES if pattern.fullmatch(path)), None)


def in_variable(name: str, value: str, *, has_nvidia: bool) -> str:
    """A list of GPUs as their number: indexes and CDI names in NVIDIA_VISIBLE_DEVICES, UUIDs in any …VISIBLE_DEVICES,
    and in any other variable of a container that has NVIDIA's device nodes."""
    pattern = _LIST if name == "NVIDIA_VISIBLE_DEVICES" else _UUIDS
    if not (has_nvidia or name.endswith("VISIBLE_DEVICES")) or not pattern.fullmatch(value):
        return value
    return f"\0{value.count(',') + 1} GPU\0"


def in_mount(path: str) -> str:
    """A mount's place or source, fit to be shown: by the strategy volume-mounts, or one that NVIDIA's driver names."""
    found = _VOLUME_MOUNT.fullmatch(path)
    return f"{found[1]}(a GPU)" if found else _IN_TEXT.sub("(a GPU)", path)


def in_text(text: str) -> str:
    """An argument of NVIDIA's hooks, with PCI addresses, UUIDs and numbers replaced."""
    return _IN_TEXT.sub(WHICH, text)
