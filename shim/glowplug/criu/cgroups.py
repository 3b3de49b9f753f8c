"""The cgroup namespace in CRIU's images, and nothing else of the dumped cgroups.

The new container's cgroups are runc's work: CRIU starts inside them and leaves them alone. But a private
cgroup namespace, the rule on cgroup v2, comes back only if CRIU manages cgroups a little: it must know a
cgroup to take as the namespace's root. So the image keeps those hierarchies that have such a root, and of
them neither properties nor directories below. Field numbers: images/cgroup.proto, core.proto.

CRIU 4.2 notes the root for the first process alone, and a set of cgroups of its own for each other thread
(criu/cgroup.c, cg_set_compare), into which it would move one thread after the other: 105 took 15 ms.
"""

import os

from glowplug.criu import images
from glowplug.criu.images import Message
from glowplug.errors import ImageError

_IMAGE = "cgroup.img"
_SETS, _CONTROLLERS = 1, 2
_SET_NUMBER, _SET_MEMBERS = 1, 2
_NAME, _PATH, _PREFIX = 1, 2, 3
_CONTROLLER_NAMES, _CONTROLLER_DIRS, _DIR_NAME = 1, 2, 1
_CORE_THREAD, _THREAD_SET = 5, 16


def apply(images_dir: str) -> bool:
    """Reduce cgroup.img to the root of the processes' cgroup namespace; whether they have a private one.

    Called once on a fresh dump, which it changes. True: restore with the new container's cgroup passed to
    `config.restore`. A process that lived in a cgroup below the root comes back in the root. Raises ImageError.
    """
    if not os.path.exists(os.path.join(images_dir, _IMAGE)):
        return False
    entries = images.load(images_dir, _IMAGE, "cgroup")
    if len(entries) != 1:
        raise ImageError(f"image {_IMAGE} has {len(entries)} entries instead of one")
    entry = entries[0]
    sets = entry.messages(_SETS)
    roots = _roots(sets)
    own = _of_namespace(sets)
    for one in sets:
        members = []
        for member in one.messages(_SET_MEMBERS):
            name = member.octets(_NAME) or b""
            if name in roots:
                member.put_octets(_PATH, roots[name])
                member.put_integer(_PREFIX, len(roots[name]))
                members.append(member)
        one.put_messages(_SET_MEMBERS, members)
    controllers = []
    for controller in entry.messages(_CONTROLLERS):
        root = next((roots[name] for name in controller.strings(_CONTROLLER_NAMES) if name in roots), None)
        if root is not None:
            directory = Message()
            directory.put_octets(_DIR_NAME, root.lstrip(b"/"))
            controller.put_messages(_CONTROLLER_DIRS, [directory])
            controllers.append(controller)
    entry.put_messages(_SETS, sets)
    entry.put_messages(_CONTROLLERS, controllers)
    images.store(images_dir, _IMAGE, "cgroup", [entry])
    if own is not None:
        _put_into(images_dir, own, sets)
    return bool(roots)


def _of_namespace(sets: list[Message]) -> int | None:
    """The number of the set of the namespace's first process."""
    for one in sets:
        if any(member.integer(_PREFIX) for member in one.messages(_SET_MEMBERS)):
            return one.integer(_SET_NUMBER)
    return None


def _put_into(images_dir: str, own: int, sets: list[Message]) -> None:
    """All threads whose set has the same members as `own` into that one."""
    members = {
        one.integer(_SET_NUMBER): [member.encode() for member in one.messages(_SET_MEMBERS)] for one in sets
    }
    alike = {number for number, listed in members.items() if number != own and listed == members[own]}
    for _, name in images.names(images_dir, "core"):
        entries = images.load(images_dir, name, "core")
        changed = False
        for core in entries:
            thread = core.message(_CORE_THREAD)
            if thread is not None and thread.integer(_THREAD_SET) in alike:
                thread.put_integer(_THREAD_SET, own)
                core.put_message(_CORE_THREAD, thread)
                changed = True
        if changed:
            images.store(images_dir, name, "core", entries)


def _roots(sets: list[Message]) -> dict[bytes, bytes]:
    """Controller to the path of the cgroup that is the namespace's root, for those seen through one."""
    return {
        member.octets(_NAME) or b"": (member.octets(_PATH) or b"")[:prefix]
        for one in sets
        for member in one.messages(_SET_MEMBERS)
        if (prefix := member.integer(_PREFIX))
    }
