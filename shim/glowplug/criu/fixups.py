"""A fresh dump made right for a restore in another pod: the list of what is changed in its images, in order.

Each is a function of the images' directory, in a file of its own, which says why.
"""

from collections.abc import Collection, Mapping

from glowplug.criu import renewed, settled, signals, tcp_queues, timers, unix_names


def apply(images_dir: str, volumes: Collection[str], unix: Mapping[int, str]) -> None:
    """Called once on a fresh dump, which it changes. Raises ImageError, OSError.

    volumes: see `renewed.name_by_link`. unix: see `unix_names.rename`.
    """
    timers.settle(images_dir)
    signals.settle(images_dir)
    unix_names.rename(images_dir, unix)
    renewed.name_by_link(images_dir, volumes)
    settled.settle(images_dir)
    tcp_queues.settle(images_dir)
