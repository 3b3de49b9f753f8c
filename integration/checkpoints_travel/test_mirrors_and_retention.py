"""Mirrors, copies, and what goes."""

from dataclasses import replace
from pathlib import Path

import pytest

from glowplug.errors import RegistryMiss
from glowplug.registry import copying, names, opened, retention
from integration.checkpoints_travel.nodes import NAMESPACE, Node, memory
from integration.registry import Registry
from integration.registry_faults import Proxy
from integration.waiting import wait_until


def test_a_mirror_serves_the_blobs_and_is_not_believed_about_tags(a: Node, b: Node, proxy: Proxy) -> None:
    pushed = a.push(a.made(memory()))
    b.settings = replace(b.settings, mirrors=(f"https://{proxy.host}",))
    proxy.reset()
    assert b.pull(pushed.tags[1]).checkpoint == pushed.checkpoint
    assert any("/blobs/" in path for _, path in proxy.seen)
    assert not any(path.endswith(pushed.tags[1]) for _, path in proxy.seen)


def test_a_mirror_that_lies_or_is_down_costs_nothing_but_time(a: Node, b: Node, proxy: Proxy) -> None:
    pushed = a.push(a.made(memory()))
    b.settings = replace(b.settings, mirrors=(f"https://{proxy.host}", "https://127.0.0.1:1"))
    proxy.reset(lambda number, method, path: "flip")
    assert b.pull(pushed.tags[1]).checkpoint == pushed.checkpoint


def test_a_pull_through_cache_is_a_mirror(a: Node, b: Node, tmp_path: Path) -> None:
    """As Spegel and Dragonfly are to a client: it fetches each blob once, and has it then."""
    with (
        Registry(str(tmp_path / "upstream"), tls=False) as upstream,
        Registry(str(tmp_path / "cache"), tls=False, upstream=f"http://{upstream.host}") as cache,
    ):
        for node in (a, b):
            node.settings = replace(
                node.settings, repository=f"{upstream.host}/x", tls=False, ca="", credentials=""
            )
        b.settings = replace(b.settings, mirrors=(f"http://{cache.host}",))
        pushed = a.push(a.made(memory()))
        found = b.look(pushed.tags[1])
        assert b.pull(pushed.tags[1]).checkpoint == pushed.checkpoint
        packs = {pack.digest.removeprefix("sha256:") for pack in found.artifact.packs}
        wait_until(
            lambda: packs <= {path.split("/")[-2] for path in cache.files() if path.endswith("/data")},
            20,
            "the cache keeps the packs",
        )


def test_a_copy_in_another_registry_is_as_good(a: Node, b: Node, tmp_path: Path) -> None:
    pushed = a.push(a.made(memory()))
    with Registry(str(tmp_path / "other"), tls=False) as other:
        into = replace(a.settings, repository=f"{other.host}/copies", tls=False, ca="", credentials="")
        found = a.look(pushed.tags[1])
        with opened.repository(a.settings, NAMESPACE) as source, opened.repository(into, NAMESPACE) as target:
            assert copying.copy(source, target, found, 2) > 2 << 20
            assert copying.copy(source, target, found, 2) == 0
        b.settings = into
        assert b.pull(pushed.tags[1]).checkpoint == pushed.checkpoint


def test_what_newer_ones_replace_goes_with_its_signature(a: Node, b: Node) -> None:
    pushed = [a.push(a.made(created=f"2026-03-0{day}T12:00:00Z")) for day in range(1, 5)]
    with opened.repository(a.settings, NAMESPACE) as repository:
        listed = retention.rows(repository)
        assert [row.checkpoint for row in listed] == [one.checkpoint for one in reversed(pushed)]
        assert [row.is_newest for row in listed] == [True, False, False, False]
        going = retention.plan(listed, keep=2, older_than_s=None, everything=False)
        assert [row.checkpoint for row, _ in going] == [pushed[1].checkpoint, pushed[0].checkpoint]
        for row, _ in going:
            retention.remove(repository, row.digest)
        assert len(retention.rows(repository)) == 2 and retention.orphans(repository) == []
        repository.delete_manifest(pushed[2].digest)
        assert retention.orphans(repository) == [names.signature_tag(pushed[2].digest)]
        for row, _ in retention.plan(retention.rows(repository), keep=9, older_than_s=None, everything=True):
            retention.remove(repository, row.digest)
        assert retention.rows(repository) == []
    with pytest.raises(RegistryMiss):
        b.pull(pushed[3].tags[1])
