"""A fresh dump made right for a restore in another pod: the list of what is changed in its images, in order.

Each is a function of the images' directory, in a file of its own, which says why.
"""

from collections.abc import Collection, Mapping

from glowplug.criu import (
    image_fixups,
    in_transit,
    posix_timers,
    proc_directories,
    signals,
    tcp_queues,
    tiles,
    timers,
    unix_names,
    volume_paths,
    volume_sizes,
)


def apply(
    images_dir: str,
    rewritten_volumes: Collection[str],
    own_volumes: Collection[str],
    unix: Mapping[int, str],
    addresses: Mapping[str, tuple[str, int]],
) -> None:
    """Called once on a fresh dump, which it changes. Raises ImageError, OSError;
    NotRestorable for what can't be made right.

    rewritten_volumes: see `volume_paths.name_by_link`. own_volumes: see `volume_sizes.apply`. unix: see
    `unix_names.rename`. addresses: the pod's, see `image_fixups.ImageFixups`.
    """
    tiles.require_none(images_dir)
    timers.apply(images_dir)
    posix_timers.apply(images_dir)
    proc_directories.apply(images_dir)
    signals.apply(images_dir)
    unix_names.rename(images_dir, unix)
    volume_paths.name_by_link(images_dir, rewritten_volumes)
    volume_sizes.apply(images_dir, own_volumes)
    image_fixups.apply(images_dir, addresses)
    in_transit.require_none(images_dir)
    tcp_queues.apply(images_dir)
