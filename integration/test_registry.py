"""Checkpoints to and from a real registry, and what becomes of them when it, or somebody, does wrong."""

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests import cache_made, checkpoint_made

from glowplug.cache import moves
from glowplug.cache.digest import digest_files
from glowplug.cache.store import Store
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint.manifest import File
from glowplug.errors import CacheError, GlowplugError, RegistryError, RegistryMiss
from glowplug.registry import chunks, copying, keys, look, names, oci, opened, retention
from glowplug.registry import pull as pulls
from glowplug.registry import push as pushes
from glowplug.registry.client import Repository
from glowplug.registry.found import Found
from glowplug.registry.settings import RegistrySettings
from glowplug.registry.writing import Writer
from integration import certificates
from integration.registry import PASSWORD, PROGRAMS, Registry
from integration.registry_faults import Proxy
from integration.shared_keys import fleet

NAMESPACE = "models"
FAILURES = 4
PLANTED = b"a secret in the memory of the process"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    if os.geteuid() != 0:
        pytest.skip("checkpoints are root's")
    with Registry(str(tmp_path_factory.mktemp("registry"))) as made:
        yield made


@pytest.fixture(scope="module")
def proxy(registry: Registry) -> Iterator[Proxy]:
    with Proxy(registry) as made:
        yield made


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small checkpoint has several."""
    monkeypatch.setattr(chunks, "PACK", 512 << 10)


@pytest.fixture
def settings(registry: Registry, tmp_path: Path) -> RegistrySettings:
    """Of a fleet of its own, in a repository of its own."""
    return fleet(str(tmp_path / "keys"), registry, repository=f"{registry.host}/{tmp_path.name.lower()}")


class Node:
    """A cache, and the registry as it is configured there."""

    def __init__(self, directory: Path, settings: RegistrySettings) -> None:
        self.store = Store(str(directory))
        self.settings = settings

    def made(self, files: dict[str, bytes] | None = None, **fields: Any) -> str:
        """A checkpoint in the cache."""
        with self.store.draft(64 << 20) as draft:
            cache_made.write(draft.path, {**cache_made.FILES, **(files or {})})
            return self.published(draft, **fields)

    def published(self, draft: Any, **fields: Any) -> str:
        listed = {
            path: File(str(one["kind"]), int(one["size"]), str(one["digest"]))
            for path, one in digest_files(draft.path).items()
        }
        return self.store.publish(draft, manifests.dumps(checkpoint_made.manifest_of(files=listed, **fields)))

    def push(self, checkpoint: str, **how: Any) -> pushes.Pushed:
        with opened.repository(self.settings, NAMESPACE) as repository:
            return pushes.push(self.store, repository, self.settings, checkpoint, **how)

    def look(self, tag: str) -> Found:
        with opened.repository(self.settings, NAMESPACE) as repository:
            return look.by_tag(repository, self.settings, self.store.root, NAMESPACE, tag)

    def pull(self, tag: str) -> pulls.Pulled:
        with opened.repository(self.settings, NAMESPACE) as repository:
            found = look.by_tag(repository, self.settings, self.store.root, NAMESPACE, tag)
            return pulls.pull(self.store, repository, self.settings, found)

    def is_untouched(self) -> bool:
        """Whether nothing of any checkpoint lies in the cache."""
        return self.store.ids() == [] and os.listdir(f"{self.store.root}/drafts") == []


@pytest.fixture
def a(tmp_path: Path, settings: RegistrySettings) -> Node:
    return Node(tmp_path / "a", settings)


@pytest.fixture
def b(tmp_path: Path, settings: RegistrySettings) -> Node:
    return Node(tmp_path / "b", settings)


def memory(count: int = 3) -> dict[str, bytes]:
    """Some chunks' worth of it, the secret in each."""
    return {f"memory/pages-{number}.extent": os.urandom(700 << 10) + PLANTED for number in range(count)}


# -- the way there and back --


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
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(f"{tree}/socket")
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


def debian(registry: Registry, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of Debian's, logged in to the registry."""
    env = {
        **os.environ,
        "SSL_CERT_FILE": registry.ca,
        "DOCKER_CONFIG": registry.docker_directory,
        "HOME": registry.directory,
        "COSIGN_PASSWORD": "",
    }
    return subprocess.run(
        [f"{PROGRAMS}/{program}", *arguments], env=env, capture_output=True, text=True, timeout=60
    )


# -- what leaves the node --


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


def is_stored(registry: Registry, secret: bytes) -> bool:
    for path in [*registry.files(), f"{registry.directory}/registry.log"]:
        with open(path, "rb") as file:
            content = file.read()
        if secret in content:
            return True
        with suppress(zstandard.ZstdError):
            if secret in zstandard.ZstdDecompressor().decompress(content):
                return True
    return False


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


# -- who is trusted --


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
    path, _ = certificates.signing_pair(str(scene.directory), "stranger")
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
    """Another namespace's artifact, whole and signed, into this one's repository."""
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
    if tampering not in (flip_a_byte, swap_packs):
        assert b.is_untouched()  # decided before anything was written


def test_what_was_pushed_too_long_ago_is_not_taken_in(a: Node, tmp_path: Path) -> None:
    pushed = a.push(a.made())
    node = Node(tmp_path / "c", replace(a.settings, max_age_s=1e-6))
    with pytest.raises(RegistryMiss) as miss:
        node.pull(pushed.tags[1])
    assert miss.value.slug == "too-old"


def test_another_host_is_told_before_a_blob_is_pulled(a: Node, b: Node, proxy: Proxy) -> None:
    checkpoint = a.made(memory())
    a.push(checkpoint)
    manifest = manifests.loads(a.store.manifest(checkpoint))
    row = replace(manifest.requirements, kernel="6.9.0", driver="1.2.3")
    proxy.reset()
    through = replace(b.settings, repository=f"{proxy.host}/{b.settings.repository.partition('/')[2]}")
    with opened.repository(through, NAMESPACE) as repository:
        found = look.by_key(
            repository, through, b.store.root, NAMESPACE, manifest.key.digest, names.host_class(row)
        )
        with pytest.raises(RegistryMiss, match=r"not pulled: kernel: .*6\.9\.0; NVIDIA driver: ") as miss:
            look.require_fit(found, look.on(row))
    assert miss.value.slug == "kernel"
    index = found.artifact.index.digest
    asked = [path for _, path in proxy.seen if "/blobs/" in path]
    assert not any(path.endswith((index, *(one.digest for one in found.artifact.packs))) for path in asked)


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


# -- a registry that fails --


@pytest.fixture
def through(a: Node, b: Node, proxy: Proxy) -> Proxy:
    """Both nodes go through the proxy."""
    proxy.reset()
    for node in (a, b):
        place = node.settings.repository.partition("/")[2]
        node.settings = replace(node.settings, repository=f"{proxy.host}/{place}")
    return proxy


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


def test_a_token_that_expires_is_fetched_anew(a: Node, through: Proxy, registry: Registry) -> None:
    """The registry refuses a request in the middle: the next one has a new token."""
    assert registry.tokens is not None
    checkpoint = a.made(memory())
    expired: list[str] = []

    def plan(number: int, method: str, path: str) -> str | None:
        if number in (8, 20) and "/blobs/" in path:
            expired.append(path)
            return "expire"
        return None

    given = registry.tokens.given
    through.reset(plan)
    assert not a.push(checkpoint).was_there
    assert expired and registry.tokens.given >= given + len(expired)


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


# -- kill -9 and a full disk --


def killed(work: Callable[[], object]) -> int:
    """The status of a process of its own that does it: a signal's number below 0."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except GlowplugError:
            os._exit(3)
        finally:
            os._exit(4)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def kill_yourself(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_push_that_is_killed_at_any_request_leaves_nothing_half_published(
    a: Node, b: Node, through: Proxy
) -> None:
    """Whoever finds the tag at any of these moments finds a whole, signed artifact; the next push ends it."""
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


def test_a_pull_that_is_killed_at_any_request_goes_on_where_it_was(a: Node, b: Node, through: Proxy) -> None:
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


@pytest.mark.parametrize("step", ["prepare", "write", "finish", "publish", "move_in"])
def test_a_pull_that_is_killed_between_requests_goes_on(
    a: Node, b: Node, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    pushed = a.push(a.made(memory(2)))
    where: Any = {"publish": Store, "move_in": moves}.get(step, Writer)
    with monkeypatch.context() as patch:
        patch.setattr(where, step, kill_yourself)
        assert killed(lambda: b.pull(pushed.tags[1])) == -signal.SIGKILL
    assert b.store.ids() == []
    assert b.pull(pushed.tags[1]).checkpoint == pushed.checkpoint
    assert b.store.verify(pushed.checkpoint) == []


def test_a_full_disk_publishes_nothing_and_is_gone_on_with(a: Node, tmp_path: Path) -> None:
    pushed = a.push(a.made(memory(12)))
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(disk)], check=True)
    try:
        small = Node(disk / "cache", a.settings)
        with pytest.raises(CacheError):
            small.pull(pushed.tags[1])
        small.store.limits = replace(small.store.limits, free_floor=-(1 << 40))  # as if there had been room
        with pytest.raises(CacheError, match="No space left on device"):
            small.pull(pushed.tags[1])
        assert small.store.ids() == []
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert small.pull(pushed.tags[1]).resumed > 0
        assert small.store.verify(pushed.checkpoint) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# -- mirrors, copies, what goes --


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
