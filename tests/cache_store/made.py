"""What the tests of this folder build."""

import os

from glowplug.cache import layout
from glowplug.cache.store import Store


class Clock:
    """A time of day that the test sets."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


def leftovers(store: Store) -> list[str]:
    """What is in drafts/ and trash/."""
    return os.listdir(layout.drafts(store.root)) + os.listdir(layout.trash(store.root))
