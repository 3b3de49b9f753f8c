"""Fixtures: one registry for each file of tests, and two nodes for each test."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from glowplug.registry import chunks
from glowplug.registry.settings import RegistrySettings
from integration.checkpoints_travel.nodes import Node
from integration.registry import Registry
from integration.registry_faults import Proxy
from integration.shared_keys import fleet


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    if os.geteuid() != 0:
        pytest.skip("checkpoints are root's")
    with Registry(str(tmp_path_factory.mktemp("registry"))) as made:
        yield made


@pytest.fixture(scope="module")
def proxy(registry: Registry) -> Iterator[Proxy]:
    with Proxy(registry) as made:
        yield made


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small checkpoint has several."""
    monkeypatch.setattr(chunks, "PACK", 512 << 10)


@pytest.fixture
def settings(registry: Registry, tmp_path: Path) -> RegistrySettings:
    """Of a fleet of its own, in a repository of its own."""
    return fleet(str(tmp_path / "keys"), registry, repository=f"{registry.host}/{tmp_path.name.lower()}")


@pytest.fixture
def a(tmp_path: Path, settings: RegistrySettings) -> Node:
    return Node(tmp_path / "a", settings)


@pytest.fixture
def b(tmp_path: Path, settings: RegistrySettings) -> Node:
    return Node(tmp_path / "b", settings)


@pytest.fixture
def through(a: Node, b: Node, proxy: Proxy) -> Proxy:
    """Both nodes go through the proxy."""
    proxy.reset()
    for node in (a, b):
        place = node.settings.repository.partition("/")[2]
        node.settings = replace(node.settings, repository=f"{proxy.host}/{place}")
    return proxy
