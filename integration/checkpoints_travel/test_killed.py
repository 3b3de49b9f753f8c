"""kill -9 at every step, and a full disk: nothing half-published, and gone on with later."""

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glowplug.cache import renames
from glowplug.cache.store import Store
from glowplug.checkpoint import manifest as manifests
from glowplug.errors import CacheError, RegistryError, RegistryMiss
from glowplug.host import process_life
from glowplug.registry import chunks, names
from glowplug.registry.writing import Writer
from integration.checkpoints_travel.nodes import Node, kill_yourself, killed, memory
from integration.registry_faults import Proxy
from integration.waiting import wait_until


def test_a_push_that_is_killed_at_any_request_leaves_nothing_half_published(
    a: Node, b: Node, through: Proxy
) -> None:
    """At any of these moments the tag leads to a complete, signed artifact; the next push completes it."""
    checkpoint = a.made(memory(2))
    manifest = manifests.loads(a.store.manifest(checkpoint))
    tag = names.host_tag(manifest.key.digest, names.host_class(manifest.requirements))
    a.settings = replace(a.settings, parallel=1)
    number = 0
    statuses: list[int] = []
    while not statuses or statuses[-1] != 0:
        through.reset(lambda at, method, path, number=number: "kill" if at == number else None)  # type: ignore[misc]
        statuses.append(killed(lambda: a.push(checkpoint)))
        through.reset()
        with suppress(RegistryMiss):
            b.look(tag)  # not-found, or all of it
            assert b.pull(tag).checkpoint == checkpoint
        number += 1
    assert set(statuses[:-1]) == {-signal.SIGKILL}
    assert len(statuses) > 20
    assert b.store.verify(checkpoint) == []


def test_a_pull_that_is_killed_at_any_request_continues_where_it_was(
    a: Node, b: Node, through: Proxy
) -> None:
    pushed = a.push(a.made(memory(2)))
    b.settings = replace(b.settings, parallel=1)
    number = 0
    statuses: list[int] = []
    while not statuses or statuses[-1] != 0:
        through.reset(lambda at, method, path, number=number: "kill" if at == number else None)  # type: ignore[misc]
        statuses.append(killed(lambda: b.pull(pushed.tags[1])))
        assert statuses[-1] == 0 or b.store.ids() == []
        number += 1
    assert len(statuses) > 8 and set(statuses[:-1]) == {-signal.SIGKILL}
    assert b.store.verify(pushed.checkpoint) == []
    assert os.listdir(f"{b.store.root}/drafts") == []


@pytest.mark.parametrize("step", ["prepare", "write", "finish", "publish", "commit"])
def test_a_pull_that_is_killed_between_requests_continues(
    a: Node, b: Node, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    pushed = a.push(a.made(memory(2)))
    b.settings = replace(b.settings, parallel=1)  # so that no child writes
    where: Any = {"publish": Store, "commit": renames}.get(step, Writer)
    with monkeypatch.context() as patch:
        patch.setattr(where, step, kill_yourself)
        assert killed(lambda: b.pull(pushed.tags[1])) == -signal.SIGKILL
    assert b.store.ids() == []
    assert b.pull(pushed.tags[1]).checkpoint == pushed.checkpoint
    assert b.store.verify(pushed.checkpoint) == []


def test_a_pull_whose_child_is_killed_fails_and_is_gone_on_with(
    a: Node, b: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed = a.push(a.made(memory(3)))
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "write", kill_yourself)
        with pytest.raises(RegistryError, match="was killed: the next pull continues where it was"):
            b.pull(pushed.tags[1])
    assert b.store.ids() == []
    assert b.pull(pushed.tags[1]).checkpoint == pushed.checkpoint
    assert b.store.verify(pushed.checkpoint) == []


def test_a_pull_that_is_killed_within_a_pack_continues_within_it(
    a: Node, b: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "PACK", 64 << 20)
    pushed = a.push(a.made(memory(20)))
    assert len(b.look(pushed.tags[1]).artifact.packs) == 1
    real, written = Writer.write, []

    def write(writer: Writer, chunk: int, pieces: Any) -> None:
        real(writer, chunk, pieces)
        written.append(chunk)
        if len(written) == 80:
            kill_yourself()

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "write", write)
        assert killed(lambda: b.pull(pushed.tags[1])) == -signal.SIGKILL
    assert 0 < b.pull(pushed.tags[1]).resumed <= 80
    assert b.store.verify(pushed.checkpoint) == []


def test_a_killed_pull_takes_its_children_along(
    a: Node, b: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They would write on while the next pull does."""
    pushed = a.push(a.made(memory(3)))
    count = min(b.settings.parallel, len(b.look(pushed.tags[1]).artifact.packs))
    assert count > 1
    seen = tmp_path / "children"
    seen.mkdir()

    def wait_there(*_: object) -> None:
        (seen / str(os.getpid())).touch()
        signal.pause()

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "write", wait_there)
        pull = os.fork()
        if not pull:
            b.pull(pushed.tags[1])
            os._exit(0)
    wait_until(lambda: len(list(seen.iterdir())) == count, 30, "all children write")
    written = [(int(path.name), process_life.start_time(int(path.name))) for path in seen.iterdir()]
    os.kill(pull, signal.SIGKILL)
    os.waitpid(pull, 0)
    wait_until(lambda: not any(process_life.is_running(*child) for child in written), 30, "no child is left")
    assert b.store.ids() == []
    assert b.pull(pushed.tags[1]).checkpoint == pushed.checkpoint


def test_a_full_disk_publishes_nothing_and_is_gone_on_with(a: Node, tmp_path: Path) -> None:
    pushed = a.push(a.made(memory(12)))
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(disk)], check=True)
    try:
        small = Node(disk / "cache", a.settings)
        with pytest.raises(CacheError):
            small.pull(pushed.tags[1])
        small.store.limits = replace(small.store.limits, min_free=-(1 << 40))  # as if there had been space
        with pytest.raises(CacheError, match="No space left on device"):
            small.pull(pushed.tags[1])
        assert small.store.ids() == []
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert small.pull(pushed.tags[1]).resumed > 0
        assert small.store.verify(pushed.checkpoint) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
