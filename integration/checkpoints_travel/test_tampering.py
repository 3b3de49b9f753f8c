"""Who may write to the registry, and does: each way ends in a miss with its own reason."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from glowplug.checkpoint import manifest as manifests
from glowplug.errors import RegistryMiss
from glowplug.registry import copying, keys, look, names, oci, opened, retention, unsealing
from glowplug.registry import push as pushes
from glowplug.registry.client import Repository
from integration import certificates
from integration.checkpoints_travel.nodes import NAMESPACE, Node, memory
from integration.registry import Registry
from integration.registry_faults import Proxy

Tampering = Callable[["Scene"], None]


class Scene:
    """A checkpoint in the registry, and its repository, to be tampered with by somebody who may write there."""

    def __init__(self, a: Node, b: Node, repository: Repository, registry: Registry, directory: Path) -> None:
        self.a, self.b, self.repository, self.registry, self.directory = a, b, repository, registry, directory
        self.checkpoint = a.made(memory())
        self.pushed = a.push(self.checkpoint)
        self.tag = self.pushed.tags[1]
        data = repository.manifest(self.tag)
        assert data is not None
        self.data = data
        self.artifact = oci.loads(data)

    def blob_file(self, digest: str) -> str:
        """Where the registry keeps a blob."""
        hexadecimal = digest.removeprefix("sha256:")
        return f"{self.registry.storage}/docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"

    def signed_by(self, path: str, artifact: oci.Artifact) -> None:
        """An artifact under the tag, signed by a key."""
        data = oci.dumps(artifact)
        self.repository.push_manifest(data, self.tag)
        signer = keys.signing(replace(self.a.settings, sign_key=path))
        pushes.sign(self.repository, "x", names.digest(data), artifact.annotations, signer)


def flip_a_byte(scene: Scene) -> None:
    path = scene.blob_file(scene.artifact.packs[0].digest)
    middle = os.path.getsize(path) // 2
    with open(path, "r+b") as file:
        file.seek(middle)
        byte = file.read(1)
        file.seek(middle)
        file.write(bytes([byte[0] ^ 1]))


def change_a_chunk_with_its_key(scene: Scene) -> None:
    """By somebody who may read the artifact: the pack has its size, and each chunk opens under its key."""
    with opened.repository(scene.b.settings, NAMESPACE) as repository:
        listed = unsealing.index_of(repository, scene.b.settings, scene.b.look(scene.tag))
        pack = scene.artifact.packs[0]
        content = bytearray(repository.pack(pack, pack.size))
    chunk = max((one for one in listed.chunks if one.pack == 0), key=lambda one: one.length)
    place = slice(chunk.offset, chunk.offset + chunk.size)
    cipher, nonce, bound_to = AESGCM(chunk.key), bytes(12), b"glowplug chunk v1"
    frame = bytearray(cipher.decrypt(nonce, bytes(content[place]), bound_to))
    frame[-1] ^= 1  # of a raw block
    content[place] = cipher.encrypt(nonce, bytes(frame), bound_to)
    with open(scene.blob_file(pack.digest), "wb") as file:
        file.write(content)


def swap_packs(scene: Scene) -> None:
    """The registry's files of two of them."""
    one, other = (scene.blob_file(pack.digest) for pack in scene.artifact.packs[:2])
    os.rename(one, f"{one}.aside")
    os.rename(other, one)
    os.rename(f"{one}.aside", other)


def list_packs_in_another_order(scene: Scene) -> None:
    """Signed even so: by somebody who has a signing key, and no key of the index."""
    packs = (scene.artifact.packs[1], scene.artifact.packs[0], *scene.artifact.packs[2:])
    scene.signed_by(scene.a.settings.sign_key, replace(scene.artifact, packs=packs))


def strip_the_signature(scene: Scene) -> None:
    retention.remove_tag(scene.repository, names.signature_tag(scene.pushed.digest))


def sign_by_another(scene: Scene) -> None:
    strip_the_signature(scene)
    path, _ = certificates.signing_pair(str(scene.directory), "outsider")
    scene.signed_by(path, scene.artifact)


def change_the_manifest(scene: Scene) -> None:
    """Its signature is kept for the new digest, too."""
    changed = scene.data.replace(b'"dev.glowplug.pushed":"1', b'"dev.glowplug.pushed":"2')
    listed = scene.repository.manifest(names.signature_tag(scene.pushed.digest))
    assert changed != scene.data and listed is not None
    scene.repository.push_manifest(listed, names.signature_tag(names.digest(changed)))
    scene.repository.push_manifest(changed, scene.tag)


def another_tag(scene: Scene) -> None:
    scene.tag = names.host_tag("f" * 64, scene.artifact.annotations[names.HOST_CLASS])
    scene.repository.push_manifest(scene.data, scene.tag)


def another_tenant(scene: Scene) -> None:
    """Another namespace's artifact, complete and signed, into this one's repository."""
    with opened.repository(scene.a.settings, "other") as other:
        checkpoint = scene.a.made(memory(), namespace="other")
        done = pushes.push(scene.a.store, other, scene.a.settings, checkpoint)
        data = other.manifest(done.digest)
        assert data is not None
        found = replace(look.by_tag(other, scene.a.settings, scene.a.store.root, "other", done.digest))
        copying.copy(other, scene.repository, found, 2)
        scene.repository.push_manifest(data, scene.tag)


def an_older_one(scene: Scene) -> None:
    """The node has seen the newer one."""
    newer = scene.a.made(memory(), created="2026-03-05T12:00:00Z")
    assert scene.a.push(newer).tags[1] == scene.tag
    scene.b.look(scene.tag)
    scene.repository.push_manifest(scene.data, scene.tag)


def another_config(scene: Scene) -> None:
    """That promises another host, signed by who has a signing key."""
    config = scene.repository.blob(scene.artifact.config, 1 << 20).replace(
        b'"arch":"x86_64"', b'"arch":"x86_65"'
    )
    descriptor = oci.of_blob(names.CONFIG_TYPE, config)
    scene.repository.push_blob(config, descriptor.digest)
    annotations = {**scene.artifact.annotations}
    scene.signed_by(
        scene.a.settings.sign_key, replace(scene.artifact, config=descriptor, annotations=annotations)
    )


def not_an_artifact(scene: Scene) -> None:
    """A container's image, signed by the trusted key."""
    data = scene.data.replace(names.ARTIFACT_TYPE.encode(), b"application/vnd.example")
    scene.repository.push_manifest(data, scene.tag)
    signer = keys.signing(scene.a.settings)
    pushes.sign(scene.repository, "x", names.digest(data), {}, signer)


@pytest.mark.parametrize(
    ("tampering", "slug"),
    [
        (flip_a_byte, "damaged"),
        (change_a_chunk_with_its_key, "damaged"),
        (swap_packs, "damaged"),
        (list_packs_in_another_order, "damaged"),
        (strip_the_signature, "unsigned"),
        (sign_by_another, "wrong-signature"),
        (change_the_manifest, "other-signature"),
        (another_tag, "other-tag"),
        (another_tenant, "other-namespace"),
        (an_older_one, "rolled-back"),
        (another_config, "damaged"),
        (not_an_artifact, "not-ours"),
    ],
)
def test_each_tampering_is_a_miss_with_its_reason(
    a: Node, b: Node, registry: Registry, tmp_path: Path, tampering: Tampering, slug: str
) -> None:
    with opened.repository(a.settings, NAMESPACE) as repository:
        scene = Scene(a, b, repository, registry, tmp_path)
        tampering(scene)
    with pytest.raises(RegistryMiss) as miss:
        b.pull(scene.tag)
    assert miss.value.slug == slug
    assert b.store.ids() == []
    if tampering not in (flip_a_byte, change_a_chunk_with_its_key, swap_packs):
        assert b.is_untouched()  # decided before anything was written


def test_what_was_pushed_too_long_ago_is_not_taken_in(a: Node, tmp_path: Path) -> None:
    pushed = a.push(a.made())
    node = Node(tmp_path / "c", replace(a.settings, max_age_s=1e-6))
    with pytest.raises(RegistryMiss) as miss:
        node.pull(pushed.tags[1])
    assert miss.value.slug == "too-old"


@pytest.mark.parametrize(
    ("differs", "slug", "said"),
    [
        ({"kernel": "6.9.0"}, "kernel", "kernel: needs 6.1.0"),
        ({"driver": "535.1"}, "driver", "NVIDIA driver: "),
        ({"cpu_features": ("sse4_2",)}, "cpu", "avx2"),
        ({"gpu_products": ("NVIDIA A100",)}, "gpu", "NVIDIA A100"),
        ({"kernel": "6.9.0", "driver": "1.2.3"}, "kernel", "NVIDIA driver: "),
    ],
)
def test_another_host_is_reported_before_a_blob_is_pulled(
    a: Node, b: Node, proxy: Proxy, differs: dict[str, Any], slug: str, said: str
) -> None:
    checkpoint = a.made(memory())
    a.push(checkpoint)
    manifest = manifests.loads(a.store.manifest(checkpoint))
    row = replace(manifest.requirements, **differs)
    proxy.reset()
    through = replace(b.settings, repository=f"{proxy.host}/{b.settings.repository.partition('/')[2]}")
    with opened.repository(through, NAMESPACE) as repository:
        found = look.by_key(
            repository, through, b.store.root, NAMESPACE, manifest.key.digest, names.host_class(row)
        )
        with pytest.raises(RegistryMiss, match="in the registry was not pulled: ") as miss:
            look.require_fit(found, look.on(row))
    assert miss.value.slug == slug and said in str(miss.value)
    index = found.artifact.index.digest
    requested = [path for _, path in proxy.seen if "/blobs/" in path]
    assert not any(
        path.endswith((index, *(one.digest for one in found.artifact.packs))) for path in requested
    )


def test_a_look_up_that_finds_nothing_is_one_request_for_each_tag(b: Node, proxy: Proxy) -> None:
    through = replace(b.settings, repository=f"{proxy.host}/nothing")
    with opened.repository(through, NAMESPACE) as repository:
        with pytest.raises(RegistryMiss) as miss:
            look.by_tag(repository, through, b.store.root, NAMESPACE, "f" * 40 + "-" + "0" * 12)
        proxy.reset()
        with pytest.raises(RegistryMiss):
            look.by_tag(repository, through, b.store.root, NAMESPACE, "f" * 40 + "-" + "0" * 12)
    assert miss.value.slug == "not-found"
    assert [method for method, _ in proxy.seen] == ["GET"]
