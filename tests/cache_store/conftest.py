"""Fixtures of this folder."""

import pytest
from tests.cache_store.made import Clock

from glowplug.cache.store import Store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: object, clock: Clock) -> Store:
    return Store(f"{tmp_path}/store", now=clock)
