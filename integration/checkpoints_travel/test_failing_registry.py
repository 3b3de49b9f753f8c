"""A registry that fails, throttles, truncates, lies, or is gone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from glowplug.errors import RegistryError
from integration import certificates
from integration.checkpoints_travel.nodes import Node, memory
from integration.registry import Registry
from integration.registry_faults import Proxy

FAILURES = 4


@pytest.mark.parametrize("action", ["500", "429", "cut", "lost", "truncate"])
def test_what_passes_is_lived_through(a: Node, b: Node, through: Proxy, action: str) -> None:
    """Every third request fails so, for a while."""
    failed: list[str] = []

    def plan(number: int, method: str, path: str) -> str | None:
        # A path seldom enough for the tries that it has.
        if number % 3 != 1 or len(set(failed)) == FAILURES or "/manifests/" in path or failed.count(path) > 1:
            return None
        failed.append(path)
        return action

    checkpoint = a.made(memory())
    through.reset(plan)
    pushed = a.push(checkpoint)
    failed.clear()
    assert b.pull(pushed.tags[1]).checkpoint == checkpoint
    assert b.store.verify(checkpoint) == []


def test_a_slow_registry_is_waited_for(a: Node, b: Node, through: Proxy) -> None:
    pushed = a.push(a.made(memory(1)))
    through.reset(lambda number, method, path: "slow" if "/blobs/" in path else None)
    assert b.pull(pushed.tags[1]).checkpoint == pushed.checkpoint


@pytest.mark.parametrize("action", ["flip", "extend"])
def test_a_registry_that_lies_about_a_blob_is_not_believed(
    a: Node, b: Node, through: Proxy, action: str
) -> None:
    pushed = a.push(a.made(memory()))
    last = b.look(pushed.tags[1]).artifact.packs[-1].digest
    through.reset(lambda number, method, path: action if path.endswith(last) else None)
    with pytest.raises(RegistryError):
        b.pull(pushed.tags[1])
    assert b.store.ids() == []
    through.reset()
    assert b.pull(pushed.tags[1]).resumed > 0


def test_a_registry_that_disappears_half_way_comes_back_later(a: Node, b: Node, through: Proxy) -> None:
    checkpoint = a.made(memory())
    through.reset(lambda number, method, path: "cut" if number > 9 else None)
    with pytest.raises(RegistryError):
        a.push(checkpoint)
    through.reset()
    pushed = a.push(checkpoint)
    digests = [pack.digest for pack in b.look(pushed.tags[1]).artifact.packs]
    through.reset(lambda number, method, path: "cut" if path.endswith(digests[-1]) else None)
    with pytest.raises(RegistryError):
        b.pull(pushed.tags[1])
    assert b.store.ids() == []
    through.reset()
    assert b.pull(pushed.tags[1]).resumed > 0


def test_a_token_that_expires_is_fetched_again(a: Node, through: Proxy, registry: Registry) -> None:
    """The registry refuses a request in the middle: the next one has a new token."""
    assert registry.tokens is not None
    checkpoint = a.made(memory())
    expired: list[str] = []

    def plan(number: int, method: str, path: str) -> str | None:
        if number in (8, 20) and "/blobs/" in path:
            expired.append(path)
            return "expire"
        return None

    issued = registry.tokens.issued
    through.reset(plan)
    assert not a.push(checkpoint).was_there
    assert expired and registry.tokens.issued >= issued + len(expired)


def test_a_pull_s_token_that_expires_is_fetched_again(
    a: Node, b: Node, through: Proxy, registry: Registry
) -> None:
    """By each of the processes that fetch."""
    assert registry.tokens is not None
    pushed = a.push(a.made(memory()))
    packs = [pack.digest for pack in b.look(pushed.tags[1]).artifact.packs]
    expired: list[str] = []

    def plan(number: int, method: str, path: str) -> str | None:
        if path.endswith(tuple(packs)) and path not in expired:
            expired.append(path)
            return "expire"
        return None

    issued = registry.tokens.issued
    through.reset(plan)
    assert b.pull(pushed.tags[1]).checkpoint == pushed.checkpoint
    assert len(expired) == len(packs) > 2
    assert registry.tokens.issued >= issued + len(packs)


def test_a_login_that_ends_half_way_is_gone_on_with_by_the_next(a: Node, b: Node, through: Proxy) -> None:
    pushed = a.push(a.made(memory()))
    last = b.look(pushed.tags[1]).artifact.packs[-1].digest
    through.reset(lambda number, method, path: "401" if path.endswith(last) else None)
    with pytest.raises(RegistryError, match="refuses access"):
        b.pull(pushed.tags[1])
    assert b.store.ids() == []
    through.reset()
    assert b.pull(pushed.tags[1]).resumed > 0


def test_no_access_is_one_line_without_the_password(a: Node, registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "docker.json"
    file.write_text(
        json.dumps({"auths": {a.settings.host: {"username": "glowplug", "password": "wrong word"}}})
    )
    a.settings = replace(a.settings, credentials=str(file))
    with pytest.raises(RegistryError) as error:
        a.push(a.made())
    assert "access is refused (401)" in str(error.value) and "wrong word" not in str(error.value)


def test_a_certificate_of_another_authority_is_refused(a: Node, tmp_path: Path) -> None:
    other = certificates.Authority(str(tmp_path), "another")
    a.settings = replace(a.settings, ca=other.ca)
    with pytest.raises(RegistryError, match="certificate verify failed"):
        a.push(a.made())
