"""What a node says that it has checkpoints of: usable ones, the latest used first."""

import errno
import os

import pytest
from tests.cli_made import Node

from glowplug.agent.kubernetes.cached_workloads import EVERY_NAMESPACE, CachedWorkloads
from glowplug.cache import lease
from glowplug.errors import CacheError


@pytest.fixture
def node(tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Node:
    return Node(str(tmp_path), monkeypatch, capsys)


def test_what_was_used_last_comes_first_and_what_is_shared_is_everybodys(node: Node) -> None:
    first = node.published(namespace="a", image_name="llama:1")
    node.published("2026-03-02T12:00:00Z", namespace="b", image_name="llama:2", shared=True)
    store = node.store
    used = lease.take(store.root, first)
    os.utime(used, (4e9, 4e9))
    lease.release(used)
    assert CachedWorkloads(store).images() == [("a", "llama:1"), (EVERY_NAMESPACE, "llama:2")]


def test_what_is_quarantined_or_damaged_is_not_listed(node: Node) -> None:
    quarantined, damaged = node.published(), node.published("2026-03-02T12:00:00Z")
    node.published("2026-03-03T12:00:00Z", image_name="complete:1")
    node.store.quarantine(quarantined, "check: damaged")
    with open(f"{node.store.path(damaged)}/manifest.json", "w") as file:
        file.write("{")
    assert [image for _, image in CachedWorkloads(node.store).images()] == ["complete:1"]


def test_a_disk_that_fails_is_an_error_of_the_cache(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller also writes to Kubernetes, and continues."""
    node.published()
    store = node.store

    def fail(_: str) -> os.stat_result:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    warm = CachedWorkloads(store)
    monkeypatch.setattr(store, "last_used", fail)
    with pytest.raises(CacheError, match="Input/output error"):
        warm.images()
