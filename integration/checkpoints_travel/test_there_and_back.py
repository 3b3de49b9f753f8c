"""What a node pushed, another one pulls; and what of it leaves the node."""

import json
import os
import socket
import stat
from dataclasses import replace
from pathlib import Path

from tests import cache_made, checkpoint_made

from glowplug.checkpoint import manifest as manifests
from glowplug.registry import names, oci, opened
from glowplug.registry import push as pushes
from integration import certificates
from integration.checkpoints_travel.nodes import NAMESPACE, PLANTED, Node, debian, is_stored, memory
from integration.registry import PASSWORD, Registry


def test_what_was_pushed_is_pulled_by_another_node(a: Node, b: Node) -> None:
    checkpoint = a.made(memory())
    pushed = a.push(checkpoint)
    pulled = b.pull(pushed.tags[1])
    assert pulled.checkpoint == checkpoint
    assert b.store.verify(checkpoint) == []
    assert b.store.manifest(checkpoint) == a.store.manifest(checkpoint)
    assert a.push(checkpoint).was_there and b.pull(pushed.tags[0]).was_there


def test_every_kind_of_file_comes_back_as_it_was(a: Node, b: Node) -> None:
    """Devices, whiteouts, links, sockets, attributes, owners, times, names that are no text, holes."""
    with a.store.draft(64 << 20) as draft:
        cache_made.write(draft.path)
        tree = f"{draft.path}/layer/tree"
        os.mknod(f"{tree}/whiteout", stat.S_IFCHR, 0)
        os.mknod(f"{tree}/null", stat.S_IFCHR | 0o620, os.makedev(1, 3))
        os.mkfifo(f"{tree}/fifo", 0o640)
        opened_tree = os.open(tree, os.O_PATH)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(f"/proc/self/fd/{opened_tree}/socket")  # the entire path may be too long for bind(2)
        os.close(opened_tree)
        os.symlink("/nowhere", f"{tree}/broken")
        os.link(f"{tree}/broken", f"{tree}/broken too")
        with open(f"{tree}/sparse", "wb") as file:
            file.truncate(64 << 20)
            file.seek(32 << 20)
            file.write(b"middle")
        os.link(f"{tree}/sparse", f"{tree}/sparse too")
        with open(os.fsencode(tree) + b"/\xff\xfe", "wb") as file:
            file.write(b"no text")
        os.chown(f"{tree}/sparse", 1000, 2000)
        os.chmod(f"{tree}/sparse", 0o4751)
        os.setxattr(f"{tree}/sparse", "trusted.overlay.metacopy", b"\0\1")
        os.utime(f"{tree}/sparse", ns=(1, 1_234_567_890_123_456_789))
        os.mkdir(f"{tree}/sticky")
        os.chmod(f"{tree}/sticky", 0o1777)
        checkpoint = a.published(draft)
    b.pull(a.push(checkpoint).tags[1])
    assert b.store.verify(checkpoint) == []  # the digest of a tree has all but the times
    sparse = os.lstat(f"{b.store.path(checkpoint)}/layer/tree/sparse")
    assert sparse.st_mtime_ns == 1_234_567_890_123_456_789
    assert sparse.st_blocks * 512 < 16 << 20


def test_cosign_and_oras_of_debian_read_what_we_push(a: Node, registry: Registry, tmp_path: Path) -> None:
    pushed = a.push(a.made(memory()))
    place = f"{a.settings.host}/{a.settings.path(NAMESPACE)}"
    verify = ("verify", "--insecure-ignore-tlog=true", "--key")
    key = a.settings.trust["*"][0]
    done = debian(registry, "cosign", *verify, key, f"{place}:{pushed.tags[1]}")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)[0]
    assert said["critical"]["image"]["docker-manifest-digest"] == pushed.digest
    assert said["optional"][names.CHECKPOINT] == pushed.checkpoint
    _, another = certificates.signing_pair(str(tmp_path), "another")
    assert debian(registry, "cosign", *verify, another, f"{place}:{pushed.tags[1]}").returncode != 0
    fetched = debian(
        registry, "oras", "manifest", "fetch", "--ca-file", registry.ca, f"{place}:{pushed.tags[2]}"
    )
    assert json.loads(fetched.stdout)["artifactType"] == names.ARTIFACT_TYPE
    found = debian(
        registry,
        "oras",
        "discover",
        "--ca-file",
        registry.ca,
        "--format",
        "json",
        f"{place}:{pushed.tags[0]}",
    )
    assert [one["artifactType"] for one in json.loads(found.stdout)["manifests"]] == [names.PROVENANCE_TYPE]
    copied = debian(
        registry,
        "oras",
        "copy",
        "--from-ca-file",
        registry.ca,
        f"{place}@{pushed.digest}",
        "--to-oci-layout",
        f"{tmp_path}/oci:x",
    )
    assert copied.returncode == 0, copied.stderr


def test_what_cosign_signed_is_taken_in(a: Node, b: Node, registry: Registry, tmp_path: Path) -> None:
    pushed = a.push(a.made())
    made = debian(registry, "cosign", "generate-key-pair", "--output-key-prefix", f"{tmp_path}/made")
    assert made.returncode == 0, made.stderr
    place = f"{a.settings.host}/{a.settings.path(NAMESPACE)}@{pushed.digest}"
    signed = debian(
        registry, "cosign", "sign", "--yes", "--tlog-upload=false", "--key", f"{tmp_path}/made.key", place
    )
    assert signed.returncode == 0, signed.stderr
    other = Node(tmp_path / "c", replace(b.settings, trust={"*": (f"{tmp_path}/made.pub",)}))
    assert other.pull(pushed.tags[1]).checkpoint == pushed.checkpoint


def test_a_secret_of_the_memory_is_in_no_byte_that_left(a: Node, registry: Registry) -> None:
    """Also in none that a zstd frame hides; a plain push shows that the search finds it."""
    with open(a.settings.fleet_secret, "rb") as file:
        fleet_secret = file.read()
    checkpoint = a.made({**memory(), "images/small.img": PLANTED})
    a.push(checkpoint)
    secrets = [
        PLANTED,
        fleet_secret,
        fleet_secret.hex().encode(),
        PASSWORD.encode(),
        checkpoint_made.POD.encode(),
    ]
    assert [one for one in secrets if is_stored(registry, one)] == []
    env_hash = manifests.loads(a.store.manifest(checkpoint)).key.parts["env"]["API_KEY"]  # type: ignore[index]
    assert not is_stored(registry, str(env_hash).encode())
    a.push(a.made({**memory(), "images/small.img": b"another"}, created="2026-03-02T12:00:00Z"), plain=True)
    assert is_stored(registry, PLANTED)


def test_equal_chunks_are_stored_once_in_a_namespace_and_never_across(a: Node, tmp_path: Path) -> None:
    shared = memory()
    first = a.push(a.made(shared))
    second = a.push(a.made({**shared, "images/core-1.img": b"others"}, created="2026-03-02T12:00:00Z"))
    assert second.sent * 3 < first.sent
    blobs = {}
    for namespace in (NAMESPACE, "other"):
        with opened.repository(a.settings, namespace) as repository:
            checkpoint = a.made(shared, namespace=namespace, created="2026-03-03T12:00:00Z")
            done = pushes.push(a.store, repository, a.settings, checkpoint)
            data = repository.manifest(done.digest)
            assert data is not None
            blobs[namespace] = {pack.digest for pack in oci.loads(data).packs}
    assert blobs[NAMESPACE] & blobs["other"] == set()
