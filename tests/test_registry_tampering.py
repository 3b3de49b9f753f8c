"""Whatever somebody who may write to the registry does to an artifact: a miss, or the very checkpoint."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integration import certificates
from tests import cache_made, checkpoint_made
from tests.registry_memory import MemoryTransport

from glowplug.cache.digest import digest_files
from glowplug.cache.store import Store
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint.manifest import File
from glowplug.errors import CacheError, RegistryError, RegistryMiss
from glowplug.registry import look, pull, push
from glowplug.registry.client import Repository
from glowplug.registry.settings import RegistrySettings

SLUGS = {"not-found", "not-ours", "damaged", "other-tag", "other-namespace"} | {
    "unsigned",
    "wrong-signature",
    "other-signature",
}
NAMESPACES = ("models", "other")


@dataclass(frozen=True)
class Pushed:
    """Two checkpoints of each of two namespaces, in one registry."""

    settings: RegistrySettings
    blobs: dict[str, bytes]
    manifests: dict[str, bytes]
    tags: tuple[str, ...]
    checkpoints: tuple[str, ...]


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    directory = tmp_path_factory.mktemp("pushed")
    secret = directory / "secret"
    secret.write_bytes(os.urandom(32))
    secret.chmod(0o600)
    sign, trusted = certificates.signing_pair(str(directory), "sign")
    identity, recipient = certificates.recipient_pair(str(directory), "recipient")
    found = RegistrySettings(
        repository="memory/x",
        fleet_secret=str(secret),
        sign_key=sign,
        trust={"*": (trusted,)},
        recipients={"*": (recipient,)},
        identities={"*": (identity,)},
        parallel=1,
    )
    registry = MemoryTransport({}, {})
    store = Store(str(directory / "a"))
    done = [
        push.push(store, Repository(registry, namespace), found, _made(store, namespace, number))
        for namespace in NAMESPACES
        for number in range(2)
    ]
    yield Pushed(
        found,
        registry.blobs,
        registry.manifests,
        tuple(one.tags[1] for one in done),
        tuple(one.checkpoint for one in done),
    )


def _made(store: Store, namespace: str, number: int) -> str:
    with store.draft(1 << 20) as draft:
        cache_made.write(draft.path, {**cache_made.FILES, "memory/pages-1.extent": b"%d" % number * 5000})
        listed = {
            path: File(str(one["kind"]), int(one["size"]), str(one["digest"]))
            for path, one in digest_files(draft.path).items()
        }
        key = checkpoint_made.key_of(chain_id=f"sha256:{number:064x}")
        manifest = checkpoint_made.manifest_of(key, files=listed, namespace=namespace)
        return store.publish(draft, manifests.dumps(manifest))


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_every_tampering_is_a_miss_with_a_reason_or_changes_nothing(
    pushed: Pushed, data: st.DataObject
) -> None:
    registry = MemoryTransport(dict(pushed.blobs), dict(pushed.manifests))
    for _ in range(data.draw(st.integers(1, 3), label="times")):
        _tamper(registry, data)
    repository = Repository(registry, "models")
    directory = tempfile.mkdtemp()
    try:
        store = Store(directory)
        found = look.by_tag(repository, pushed.settings, directory, "models", pushed.tags[0])
        assert found.config.checkpoint == pushed.checkpoints[0]
        pull.pull(store, repository, pushed.settings, found)
        assert store.verify(pushed.checkpoints[0]) == []
    except RegistryMiss as miss:
        assert miss.slug in SLUGS, miss
        assert Store(directory).ids() == []
    except (RegistryError, CacheError):
        assert Store(directory).ids() == []
    finally:
        shutil.rmtree(directory)


def _tamper(registry: MemoryTransport, data: st.DataObject) -> None:
    """One change of one thing: of a blob, of a manifest, or of what a name leads to."""
    table = data.draw(st.sampled_from([registry.blobs, registry.manifests]), label="table")
    name = data.draw(st.sampled_from(sorted(table)), label="what")
    content = table[name]
    match data.draw(st.sampled_from(["flip", "cut", "longer", "swap", "gone"]), label="how"):
        case "flip":
            at = data.draw(st.integers(0, max(0, len(content) * 8 - 1)), label="bit")
            changed = bytearray(content or b"\0")
            changed[at // 8] ^= 1 << at % 8
            table[name] = bytes(changed)
        case "cut":
            table[name] = content[: data.draw(st.integers(0, len(content)), label="length")]
        case "longer":
            table[name] = content + data.draw(st.binary(min_size=1, max_size=20), label="more")
        case "swap":
            other = data.draw(st.sampled_from(sorted(table)), label="with")
            table[name], table[other] = table[other], table[name]
        case "gone":
            del table[name]


def test_untouched_it_is_pulled(pushed: Pushed, tmp_path: Path) -> None:
    """What the test above rests on."""
    repository = Repository(MemoryTransport(dict(pushed.blobs), dict(pushed.manifests)), "models")
    store = Store(str(tmp_path))
    found = look.by_tag(repository, pushed.settings, str(tmp_path), "models", pushed.tags[0])
    assert pull.pull(store, repository, pushed.settings, found).checkpoint == pushed.checkpoints[0]
