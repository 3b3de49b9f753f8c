"""The agent's answer to a start: which reason a miss has."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
from tests import cache_made
from tests import checkpoint_made as made

from glowplug import paths
from glowplug.agent.learned import Learned
from glowplug.agent.serving.resolve import Resolver
from glowplug.cache.store import Store
from glowplug.checkpoint import bundle
from glowplug.checkpoint import judgement as judgements
from glowplug.checkpoint.key import RULES_VERSION
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.outcomes.history import History


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    return Store(str(tmp_path / "cache"))


def publish(store: Store, rules: int, **said: Any) -> str:
    """A checkpoint of the container that `made.spec` describes, but for its rules and what is said."""
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
