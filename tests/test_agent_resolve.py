"""The agent's answer to a start: which reason a miss has."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests import cache_made
from tests import checkpoint_made as made

from glowplug import paths
from glowplug.agent.learned import Learned
from glowplug.agent.serving.resolve import Resolver
from glowplug.cache.digest import digest_files
from glowplug.cache.state import FOREVER
from glowplug.cache.store import Store
from glowplug.checkpoint import bundle
from glowplug.checkpoint import judgement as judgements
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint.key import RULES_VERSION
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.host import pagecache
from glowplug.outcomes.history import History


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    return Store(str(tmp_path / "cache"))


def publish(store: Store, rules: int, **said: Any) -> str:
    """A checkpoint of the container that `made.spec` describes, except for its rules and what is said."""
    with store.draft(1 << 16) as draft:
        plain = json.loads(cache_made.fill(draft, namespace="models", key=f"digest of rules {rules}"))
        plain["key"]["parts"] = {"rules": rules, "image": made.CHAIN}
        return store.publish(draft, json.dumps({**plain, "container": "main", **said}).encode())


def answer(store: Store, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    spec = made.spec()
    facts = bundle.read(spec)
    judged = judgements.make("c1", facts, made.key_of(spec), (), spec="", edited="", salt=made.SALT)
    monkeypatch.setattr(Resolver, "judgement", lambda *_: judged)
    config = Config(cache=store.root)
    nobody = cast(Containerd, None)  # whose answers are in the judgement
    resolver = Resolver(config, nobody, store, History(store.root), made.HOST, Learned(store.root))
    return resolver.judge(cast(ContainerRecord, None), spec, facts)


def test_a_checkpoint_of_older_rules_is_the_reason(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    old = publish(store, RULES_VERSION - 1)
    found = answer(store, monkeypatch)
    assert found["slug"] == "rules"
    assert old in str(found["detail"]) and f"version {RULES_VERSION - 1}" in str(found["detail"])


@pytest.mark.parametrize(
    "said",
    [
        {"namespace": "others"},
        {"container": "other"},
        {"key": {"digest": "x", "parts": {"image": "another"}}},
    ],
)
def test_another_s_is_not(store: Store, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any]) -> None:
    publish(store, RULES_VERSION - 1, **said)
    assert answer(store, monkeypatch)["slug"] == "no-checkpoint"


def test_where_there_is_one_of_these_rules_they_are_not_the_reason(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, RULES_VERSION - 1)
    publish(store, RULES_VERSION)
    assert answer(store, monkeypatch)["slug"] == "no-checkpoint"


class Read:
    """A checkpoint that serves the container, and an agent."""

    def __init__(self, store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        spec = made.spec()
        self.facts = bundle.read(spec)
        self.record = cast(ContainerRecord, SimpleNamespace(id="c1", snapshotter="overlayfs"))
        key = made.key_of(spec)
        judged = judgements.make("c1", self.facts, key, (), spec="", edited="", salt=made.SALT)
        monkeypatch.setattr(Resolver, "judgement", lambda *_: judged)
        monkeypatch.setattr("glowplug.capture.resources.of", lambda _spec, _gpus: made.RESOURCES)
        monkeypatch.setattr("glowplug.explain.gpus.map_to", lambda _manifest, _gpus: "")
        rootfs = SimpleNamespace(options=(f"upperdir={directory}/7/fs",))
        containerd = SimpleNamespace(
            container=lambda _id: self.record, rootfs_mounts=lambda _record: (rootfs,)
        )
        config = Config(cache=store.root)
        self.spec = spec
        self.bundle = str(directory)
        (directory / "config.json").write_text(json.dumps(spec))
        monkeypatch.setattr("glowplug.host.memory.available", lambda: 64 << 30)
        with store.draft(1 << 16) as draft:
            cache_made.write(draft.path)
            files = {
                path: manifests.File(str(one["kind"]), int(one["size"]), str(one["digest"]))
                for path, one in digest_files(draft.path).items()
            }
            complete = made.manifest_of(key, namespace=self.facts.sandbox_namespace, files=files)
            self.checkpoint = store.publish(draft, manifests.dumps(complete))
        self.resolver = Resolver(
            config, cast(Containerd, containerd), store, History(store.root), made.HOST, Learned(store.root)
        )

    def prepare(self) -> dict[str, object]:
        return self.resolver.prepare(self.record, self.spec, self.facts)

    def start(self) -> dict[str, object]:
        return self.resolver.answer({"op": "resolve", "container": "c1", "bundle": self.bundle})


@pytest.fixture
def read(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    return Read(store, tmp_path, monkeypatch)


def test_the_gpus_are_read_beside_the_judgement(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    queried: list[object] = []
    monkeypatch.setattr("glowplug.explain.gpus.read_ahead", queried.append)
    read.prepare()
    assert queried == [read.facts]


def test_a_start_is_answered_as_its_container_was_when_it_was_made(read: Read) -> None:
    prepared = read.prepare()
    assert prepared["verdict"] == "match", prepared
    assert read.start() == prepared


def test_a_checkpoint_that_is_quarantined_between_the_two_serves_nobody(read: Read, store: Store) -> None:
    read.prepare()
    store.quarantine(read.checkpoint, "it failed", until=FOREVER)
    answer = read.start()
    assert (answer["verdict"], answer["slug"]) == ("miss", "quarantined")


def test_nor_does_one_that_is_removed(read: Read, store: Store) -> None:
    read.prepare()
    store.remove(read.checkpoint)
    assert read.start()["slug"] == "no-checkpoint"


def test_nor_does_one_whose_manifest_is_damaged(read: Read, store: Store) -> None:
    Path(store.path(read.checkpoint), "manifest.json").write_text("{")
    assert read.start()["slug"] == "no-checkpoint"


def test_nor_does_one_of_a_newer_version(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glowplug.checkpoint.manifest.VERSION", 0)
    assert read.start()["slug"] == "newer-manifest"


def test_a_checkpoint_that_was_in_memory_a_moment_ago_is_not_looked_at_again(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def counted(path: str) -> int:
        looked.append(path)
        return 0

    monkeypatch.setattr(pagecache, "estimated_uncached_bytes", counted)
    read.prepare()
    once = len(looked)
    read.start()
    assert once > 0
    assert len(looked) == once
    monkeypatch.setattr("glowplug.explain.judge.IN_MEMORY_S", 0.0)
    read.start()
    assert len(looked) == 2 * once


def test_one_that_was_not_is_looked_at_each_time(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be read ahead meanwhile."""
    monkeypatch.setattr(pagecache, "estimated_uncached_bytes", lambda _: 1)
    assert read.prepare()["unread_bytes"] != 0
    monkeypatch.setattr(pagecache, "estimated_uncached_bytes", lambda _: 0)
    assert read.start()["unread_bytes"] == 0
