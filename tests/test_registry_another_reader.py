"""What is pushed can be read by a tool that knows the documents and nothing else (another_reader.py)."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from integration import certificates
from tests import another_reader, cache_made, checkpoint_made
from tests.registry_memory import MemoryTransport

from glowplug.cache.digest import digest_files
from glowplug.cache.store import Store
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint.manifest import File
from glowplug.registry import push
from glowplug.registry.client import Repository
from glowplug.registry.settings import RegistrySettings

NAMESPACE = "models"
Read = Callable[[str, Path], str]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cache"))


@pytest.fixture
def checkpoint(store: Store) -> str:
    """With chunks that compress and chunks that do not, holes, a file of several blocks, each kind of entry."""
    with store.draft(256 << 20) as draft:
        files = {
            "memory/random.extent": os.urandom(900 << 10),
            "memory/text.extent": b"0123456789abcdef" * (20 << 10),
            "shm/0": b"shared" * 100,
        }
        cache_made.write(draft.path, {**cache_made.FILES, **files})
        with open(f"{draft.path}/memory/sparse.extent", "wb") as file:
            file.truncate(130 << 20)
            file.seek(70 << 20)
            file.write(b"page" * 1024)
        if os.geteuid() == 0:
            _special(f"{draft.path}/layer/tree")
        listed = {
            path: File(str(one["kind"]), int(one["size"]), str(one["digest"]))
            for path, one in digest_files(draft.path).items()
        }
        manifest = checkpoint_made.manifest_of(files=listed, namespace=NAMESPACE)
        return store.publish(draft, manifests.dumps(manifest))


def _special(tree: str) -> None:
    os.mknod(f"{tree}/whiteout", stat.S_IFCHR, 0)
    os.mkfifo(f"{tree}/fifo", 0o640)
    os.mknod(f"{tree}/socket", stat.S_IFSOCK | 0o755)
    os.symlink("/nowhere", f"{tree}/broken")
    os.link(f"{tree}/etc/motd", f"{tree}/motd too")
    with open(os.fsencode(tree) + b"/\xff\xfe", "wb") as file:
        file.write(b"no text")
    os.chown(f"{tree}/etc/motd", 1000, 2000)
    os.chmod(f"{tree}/etc/motd", 0o4751)
    os.setxattr(f"{tree}/etc/motd", "user.made", b"\0\1")
    os.utime(f"{tree}/etc/motd", ns=(1, 1_234_567_890_123_456_789))
    os.chmod(f"{tree}/usr", 0o1777)


@pytest.fixture
def pushed(tmp_path: Path, store: Store, checkpoint: str) -> tuple[push.Pushed, MemoryTransport, Read]:
    secret = tmp_path / "secret"
    secret.write_bytes(os.urandom(32))
    secret.chmod(0o600)
    sign, trusted = certificates.signing_pair(str(tmp_path), "sign")
    identity, recipient = certificates.recipient_pair(str(tmp_path), "recipient")
    settings = RegistrySettings(
        repository="memory/x", fleet_secret=str(secret), sign_key=sign, recipients={"*": (recipient,)}
    )
    registry = MemoryTransport({}, {})
    done = push.push(store, Repository(registry, NAMESPACE), settings, checkpoint)

    def read(tag: str, directory: Path) -> str:
        return another_reader.read(
            lambda reference: registry.manifests[f"{NAMESPACE}:{reference}"],
            lambda digest: registry.blobs[digest],
            tag,
            Path(trusted).read_bytes(),
            Path(identity).read_bytes(),
            str(directory),
        )

    return done, registry, read


def test_another_tool_reads_every_file(
    store: Store, checkpoint: str, pushed: tuple[push.Pushed, MemoryTransport, Read], tmp_path: Path
) -> None:
    """The digests of the manifest are compared by the reader; times, which they leave out, here."""
    done, _, read = pushed
    directory = tmp_path / "read"
    directory.mkdir()
    assert read(done.tags[1], directory) == checkpoint
    for path in ("layer/tree/etc/motd", "layer/tree/usr"):
        of_store, of_reader = (os.lstat(f"{top}/{path}") for top in (store.path(checkpoint), directory))
        assert (of_store.st_mode, of_store.st_mtime_ns) == (of_reader.st_mode, of_reader.st_mtime_ns)


def test_another_tool_refuses_what_was_changed(
    pushed: tuple[push.Pushed, MemoryTransport, Read], tmp_path: Path
) -> None:
    """The reader above does compare: each blob changed in turn, it finds another one."""
    done, registry, read = pushed
    for number, (digest, content) in enumerate(list(registry.blobs.items())):
        if len(content) < 1000:
            continue  # of signature and provenance: not all are read
        directory = tmp_path / f"read{number}"
        directory.mkdir()
        registry.blobs[digest] = content[:500] + bytes([content[500] ^ 1]) + content[501:]
        with pytest.raises(ValueError):
            read(done.tags[1], directory)
        registry.blobs[digest] = content
