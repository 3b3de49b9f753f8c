"""The list of the checks, and the refusal of a capture by the first that has something against it."""

from collections.abc import Callable, Iterator

from glowplug.capture.preflight import (
    addresses,
    closing,
    files,
    memory,
    messages,
    odd_descriptors,
    own_settings,
    processes,
    queued,
    shared_parts,
    signed_connections,
    sockets,
    unix_peers,
    unix_sockets,
    watchers,
)
from glowplug.capture.preflight.tree import Refusal, Tree
from glowplug.errors import CaptureRefused

CHECKS: tuple[Callable[[Tree], Iterator[Refusal]], ...] = (
    processes.traced,
    processes.stuck,
    processes.stopped,
    processes.unshared_threads,
    processes.leaderless,
    shared_parts.between_processes,
    shared_parts.nested_namespaces,
    memory.special,
    memory.programs,
    sockets.unsupported,
    signed_connections.keys,
    addresses.foreign,
    unix_sockets.nameless,
    unix_peers.outside,
    closing.connections,
    closing.urgent,
    queued.datagrams,
    queued.unaccepted,
    files.large_removed,
    files.kernel_objects,
    files.packet_pipes,
    odd_descriptors.eventfds,
    odd_descriptors.paths,
    odd_descriptors.removed_directories,
    odd_descriptors.terminals,
    odd_descriptors.sealed_memory,
    watchers.escaped,
    watchers.lost,
    watchers.pidfds,
    messages.queues,
    messages.unread,
    messages.keys,
    own_settings.seen,
    own_settings.reported,
)

MOMENTARY = (
    "traced",
    "in-vfork",
    "stuck",
    "closing-connection",
    "unaccepted-connection",
    "urgent-data",
    "netlink-data",
    "settings-unknown",
    "shared-with-process",
    "lost-watch",
    "stopped-with-signal",
    "corked-datagram",
    "unread-control-message",
)
"""Slugs of what is over in a while: worth another try."""


def require(tree: Tree) -> list[str]:
    """What is not known, in sentences. Raises CaptureRefused with the first thing against a capture."""
    for check in CHECKS:
        for refusal in check(tree):
            raise CaptureRefused(refusal.slug, f"this container can't be captured: {refusal.sentence}")
    return tree.notes
