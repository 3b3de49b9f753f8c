"""A fresh dump made right for a restore in another pod: the list of what is changed in its images, in order.

Each is a function of the images' directory, in a file of its own, which says why.
"""

from collections.abc import Collection, Mapping

from glowplug.criu import renewed, settled, signals, tcp_queues, timers, unix_names, volume_sizes


def apply(
    images_dir: str,
    renewed_volumes: Collection[str],
    own_volumes: Collection[str],
    unix: Mapping[int, str],
    addresses: Mapping[str, tuple[str, int]],
) -> None:
    """Called once on a fresh dump, which it changes. Raises ImageError, OSError.

    renewed_volumes: see `renewed.name_by_link`. own_volumes: see `volume_sizes.settle`. unix: see
    `unix_names.rename`. addresses: the pod's, see `settled.Settled`.
    """
    timers.settle(images_dir)
    signals.settle(images_dir)
    unix_names.rename(images_dir, unix)
    renewed.name_by_link(images_dir, renewed_volumes)
    volume_sizes.settle(images_dir, own_volumes)
    settled.settle(images_dir, addresses)
    tcp_queues.settle(images_dir)
