"""Checkpoints for the tests of the store: small, complete, with something of each kind in them."""

import json
import os

from glowplug.cache.digest import digest_files
from glowplug.cache.draft import Draft
from glowplug.cache.store import Store

FILES = {
    "images/inventory.img": b"inventory",
    "images/core-1.img": b"registers",
    "images/pages-1.img": b"\x01" * 4096,
    "memory/1.extents": b"\x02" * 8192,
    "layer/layer.json": b"{}",
    "layer/tree/etc/motd": b"hello",
    "layer/tree/usr/share/deep/file": b"x",
    "shm/0": b"shared",
    "shm/tree/sem.lock": b"lock",
    "volumes/0/tree/data": b"carried",
}
SMALL = {"images/core-1.img": b"registers", "layer/tree/etc/motd": b"hello"}


def write(directory: str, files: dict[str, bytes] | None = None) -> None:
    """Writes files, by relative path."""
    for path, content in (FILES if files is None else files).items():
        os.makedirs(os.path.dirname(f"{directory}/{path}"), exist_ok=True)
        with open(f"{directory}/{path}", "wb") as file:
            file.write(content)


def manifest_of(
    directory: str, created: float = 1.0, namespace: str = "default", key: str = "k1", shared: bool = False
) -> bytes:
    """A manifest with the facts that the store reads."""
    return json.dumps(
        {
            "version": 1,
            "namespace": namespace,
            "created": created,
            "key": {"digest": key},
            "shared": shared,
            "files": digest_files(directory),
        }
    ).encode()


def fill(
    draft: Draft, created: float = 1.0, namespace: str = "default", key: str = "k1", shared: bool = False
) -> bytes:
    """Writes a checkpoint into a draft; its manifest."""
    write(draft.path)
    return manifest_of(draft.path, created, namespace, key, shared)


def published(
    store: Store, created: float = 1.0, namespace: str = "default", key: str = "k1", shared: bool = False
) -> str:
    """A checkpoint in the store; its id. Another created gives another one."""
    with store.draft(1 << 16) as draft:
        return store.publish(draft, fill(draft, created, namespace, key, shared))


def publish(store: Store, created: float) -> str:
    """A small checkpoint in the store, quick to make; its id."""
    with store.draft(1) as opened:
        return publish_into(store, opened, created)


def publish_into(store: Store, opened: Draft, created: float) -> str:
    """The same, out of a draft that is open."""
    write(opened.path, SMALL)
    return store.publish(opened, manifest_of(opened.path, created))
