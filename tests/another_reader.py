"""A reader of artifacts written by docs/artifact.md and docs/cache.md alone: nothing of glowplug is imported here.

It is no tool, and looks at what it needs only: what it can't read raises ValueError.
"""

import base64
import hashlib
import json
import os
import stat
from collections.abc import Callable
from typing import Any

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Get = Callable[[str], bytes]
"""A manifest by tag or digest, or a blob by digest."""

CHECKPOINT = "application/vnd.glowplug.checkpoint"
NO_NONCE = bytes(12)
TREES = ("layer/tree", "shm/tree")
NODE_LABELS = ("security.selinux", "security.ima", "security.evm")


def read(manifest: Get, blob: Get, tag: str, trusted: bytes, identity: bytes, directory: str) -> str:
    """Writes the checkpoint behind a tag into a directory; the checkpoint's name. `trusted`, `identity`: PEM."""
    data = manifest(tag)
    artifact = json.loads(data)
    require(artifact["artifactType"] == f"{CHECKPOINT}.v1", "another artifact")
    require_signature(manifest, blob, data, artifact["annotations"], trusted)
    of_config: dict[str, Any] = artifact["config"]
    of_index, *packs = artifact["layers"]
    config = json.loads(addressed(blob, of_config["digest"]))
    require(config["version"] == 1, "a newer config")
    said = artifact["annotations"]
    for name, key in (("checkpoint", "checkpoint"), ("namespace", "namespace"), ("key", "key")):
        require(said[f"dev.glowplug.{name}"] == config[key], f"another {name}")
    require(
        tag in (f"{config['key'][:40]}-{said['dev.glowplug.host-class']}", f"c-{config['checkpoint']}"),
        "another tag",
    )
    index = json.loads(index_of(addressed(blob, of_index["digest"]), config, identity))
    require(index["version"] == 1 and index["packs"] == [one["digest"] for one in packs], "other packs")
    contents = [content_of(chunk, blob(index["packs"][chunk[3]])) for chunk in index["chunks"]]
    streams = [
        b"".join(bytes(-one) if one < 0 else contents[one] for one in stream) for stream in index["streams"]
    ]
    for entry in index["entries"]:
        make(directory, entry, streams)
    for entry in reversed(index["entries"]):
        describe(directory, entry)
    require_files(directory, json.loads(index["manifest"]))
    return hashlib.blake2b(index["manifest"].encode(), digest_size=32).hexdigest()[:32]


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def addressed(blob: Get, digest: str) -> bytes:
    content = blob(digest)
    require(digest == f"sha256:{hashlib.sha256(content).hexdigest()}", "another blob")
    return content


def require_signature(manifest: Get, blob: Get, data: bytes, said: dict[str, str], trusted: bytes) -> None:
    """One of the payloads is of this manifest, and signed by the key."""
    digest = hashlib.sha256(data).hexdigest()
    key = serialization.load_pem_public_key(trusted)
    assert isinstance(key, EllipticCurvePublicKey)
    for layer in json.loads(manifest(f"sha256-{digest}.sig"))["layers"]:
        payload = addressed(blob, layer["digest"])
        signature = base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"])
        try:
            key.verify(signature, payload, ECDSA(hashes.SHA256()))
        except InvalidSignature:
            continue
        signed = json.loads(payload)
        if signed["critical"]["image"]["docker-manifest-digest"] == f"sha256:{digest}":
            require(signed["optional"] == said, "the signature says something else")
            return
    raise ValueError("nobody who is trusted signed it")


def index_of(content: bytes, config: dict[str, Any], identity: bytes) -> bytes:
    if config["recipients"]:
        bound_to = "\0".join((config["namespace"], config["key"], config["checkpoint"])).encode()
        key = content_key(config, identity)
        content = opened(key, content[:12], content[12:], b"glowplug index v1\0" + bound_to)
    return zstandard.ZstdDecompressor().decompress(content)


def content_key(config: dict[str, Any], identity: bytes) -> bytes:
    own = serialization.load_pem_private_key(identity, password=None)
    assert isinstance(own, X25519PrivateKey)
    for one in config["recipients"]:
        recipient, ephemeral = bytes.fromhex(one["recipient"]), bytes.fromhex(one["ephemeral"])
        if recipient == own.public_key().public_bytes_raw():
            shared = own.exchange(X25519PublicKey.from_public_bytes(ephemeral))
            info = b"glowplug content key v1\0" + config["namespace"].encode()
            kek = HKDF(hashes.SHA256(), 32, salt=ephemeral + recipient, info=info).derive(shared)
            return opened(kek, NO_NONCE, bytes.fromhex(one["wrapped"]), None)
    raise ValueError("it is encrypted for others")


def opened(key: bytes, nonce: bytes, content: bytes, bound_to: bytes | None) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce, content, bound_to)
    except InvalidTag:
        raise ValueError("other bytes, or another key") from None


def content_of(chunk: list[Any], pack: bytes) -> bytes:
    id, key, length, _, offset, size = chunk
    frame = pack[offset : offset + size]
    if key:
        frame = opened(bytes.fromhex(key), NO_NONCE, frame, b"glowplug chunk v1")
    require(blake3(frame).hexdigest() == id, "another chunk")
    content = zstandard.ZstdDecompressor().decompress(frame)
    require(len(content) == length, "another length")
    return content


def make(directory: str, entry: dict[str, Any], streams: list[bytes]) -> None:
    path, kind = (
        f"{directory}/{entry['path']}",
        entry["type"],
    )
    if entry.get("link"):
        os.link(f"{directory}/{entry['link']}", path, follow_symlinks=False)
    elif kind == "directory":
        os.mkdir(path, 0o700)
    elif kind == "symlink":
        os.symlink(entry["target"], path)
    elif kind == "file":
        stream, at = entry.get("at", (0, 0))
        with open(path, "xb") as file:
            file.write(streams[stream][at : at + entry["size"]] if entry.get("size") else b"")
        os.chmod(path, 0o600)
    else:
        kinds = {
            "fifo": stat.S_IFIFO,
            "socket": stat.S_IFSOCK,
            "character": stat.S_IFCHR,
            "block": stat.S_IFBLK,
        }
        os.mknod(path, kinds[kind] | 0o600, os.makedev(*entry.get("device", (0, 0))))


def describe(directory: str, entry: dict[str, Any]) -> None:
    """What the container's own trees keep."""
    path = f"{directory}/{entry['path']}"
    if not is_in_tree(entry["path"]) or entry.get("link"):
        return
    os.chown(path, entry.get("uid", 0), entry.get("gid", 0), follow_symlinks=False)
    if entry["type"] != "symlink":
        os.chmod(path, entry["mode"])
    for name, value in entry.get("attributes", {}).items():
        os.setxattr(path, name, bytes.fromhex(value), follow_symlinks=False)
    os.utime(path, ns=(entry.get("mtime_ns", 0),) * 2, follow_symlinks=False)


def is_in_tree(path: str) -> bool:
    parts = path.split("/")
    return "/".join(parts[:2]) in TREES or (parts[0] == "volumes" and parts[2:3] == ["tree"])


def require_files(directory: str, manifest: dict[str, Any]) -> None:
    """Each file that the manifest lists has its digest."""
    for path, listed in manifest["files"].items():
        algorithm, _, digest = listed["digest"].partition(":")
        if is_in_tree(path):
            found = tree_digest(f"{directory}/{path}")
        else:
            with open(f"{directory}/{path}", "rb") as file:
                content = file.read()
            require(len(content) == listed["size"], f"{path}: another size")
            found = {
                "blake2b-256": lambda content: hashlib.blake2b(content, digest_size=32).hexdigest(),
                "blake3": lambda content: blake3(content).hexdigest(),
                "blake3-64m": of_blocks,
            }[algorithm](content)
        require(found == digest, f"{path}: another digest")


def of_blocks(content: bytes) -> str:
    blocks = [content[at : at + (64 << 20)] for at in range(0, len(content), 64 << 20)]
    return blake3("".join(blake3(one).hexdigest() for one in blocks).encode()).hexdigest()


def tree_digest(tree: str) -> str:
    state = blake3()
    links: dict[tuple[int, int], str] = {}
    waiting = ["."]
    state.update(line(tree, ".", links))
    while waiting:
        directory = waiting.pop(0)
        below = []
        for name in sorted(os.listdir(f"{tree}/{directory}"), key=os.fsencode):
            path = f"{directory}/{name}"
            state.update(line(tree, path, links))
            if stat.S_ISDIR(os.lstat(f"{tree}/{path}").st_mode):
                below.append(path)
        waiting = below + waiting
    return str(state.hexdigest())


def line(tree: str, path: str, links: dict[tuple[int, int], str]) -> bytes:
    full = f"{tree}/{path}"
    status = os.lstat(full)
    is_file, is_link = stat.S_ISREG(status.st_mode), stat.S_ISLNK(status.st_mode)
    is_device = stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)
    linked = not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1
    content = b""
    if is_file:
        with open(full, "rb") as file:
            content = file.read()
    fields: list[str | bytes] = [
        os.fsencode(path),
        str(stat.S_IFMT(status.st_mode)),
        str(stat.S_IMODE(status.st_mode)),
        f"{status.st_uid}:{status.st_gid}",
        f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if is_device else "0:0",
        os.fsencode(os.readlink(full)) if is_link else "",
        os.fsencode(links.setdefault((status.st_dev, status.st_ino), path)) if linked else "",
        str(status.st_size) if is_file else "",
        blake3(content).hexdigest() if is_file else "",
    ]
    names = sorted(set(os.listxattr(full, follow_symlinks=False)) - set(NODE_LABELS))
    fields += [os.fsencode(name) + b"=" + os.getxattr(full, name, follow_symlinks=False) for name in names]
    encoded = [field.encode() if isinstance(field, str) else field for field in fields]
    return b"".join(b"%d:%s" % (len(field), field) for field in encoded) + b"\n"
