"""What the tests of this folder build."""

import os
from collections.abc import Callable

from tests.layer_made import Overlay, needs_root

from glowplug.layer import overlay, tree

pytestmark = needs_root


def fill_lower(lower: str) -> None:
    """An image's files: what a container changes, deletes and replaces."""
    directories = ("a", "a/b", "c", "c/a")
    for directory in directories:
        os.mkdir(f"{lower}/{directory}")
    for directory in directories:
        for name in ("a", "b", "c"):
            path = f"{lower}/{directory}/{name}"
            if not os.path.lexists(path):
                with open(path, "w") as file:
                    file.write(f"image's {directory}/{name}")
    os.symlink("c/a", f"{lower}/b")
    os.link(f"{lower}/a/c", f"{lower}/c/twin")


class Round:
    """One layer made in a first container, captured, and applied to a second one of the same image."""

    def __init__(self, place: str, options: str = "index=off") -> None:
        lower = f"{place}/lower"
        os.mkdir(lower)
        fill_lower(lower)
        self.first = Overlay(f"{place}/1", lower, options)
        self.second = Overlay(f"{place}/2", lower, options)
        self.dest, self.record = f"{place}/tree", f"{place}/record"

    def change(self, work: Callable[[str], None]) -> tree.Summary:
        """Let `work` change the first container, and capture it while it is mounted."""
        with self.first:
            work(self.first.merged)
            self.wanted = self.first.shown()
            return tree.capture(self.first.upper, self.dest)

    def restored(self, summary: tree.Summary) -> dict[bytes, tuple[object, ...]]:
        with self.second:
            mount = overlay.find(self.second.merged)
            with overlay.Unmounted(mount):
                tree.apply(
                    self.dest,
                    self.second.upper,
                    self.record,
                    fingerprint=summary.fingerprint,
                    features=mount.features,
                )
            return self.second.shown()
