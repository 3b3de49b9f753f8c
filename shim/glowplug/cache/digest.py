"""What is in a draft: the manifest's "files", with a kind, a size and a digest each. On the agent's side.

The digest's algorithm says who checks it: blake2b, which the standard library has, at every restore (the
images that CRIU acts on, other packages' small files); blake3 when a checkpoint enters the cache and on
`glowplug verify`, by blocks where a file has more than one.
"""

import os
import stat
from collections.abc import Iterator

from glowplug.cache import blocks, check, facts, layout
from glowplug.cache.content import blake3_of
from glowplug.cache.tree_digest import digest_tree
from glowplug.errors import CacheError

IMAGE_LIMIT = 64 << 20  # bytes; larger files among the images are data (ghost files), counted as pages
SMALL = 256 << 10  # bytes; other packages' files up to here are checked at every restore

_KINDS = {"images": "image", "memory": "memory", "layer": "layer", "shm": "shm", "volumes": "layer"}

FileEntry = dict[str, str | int]  # "kind", "size" in bytes, "digest" as algorithm:hexadecimal


def kind_of(path: str, size: int) -> str:
    """A file's kind by its place and size in bytes: image, pages, memory, layer or shm. Raises CacheError."""
    if path == layout.BLOCKS:
        return "memory"
    kind = _KINDS.get(path.partition("/")[0]) if "/" in path else None
    if kind is None:
        places = ", ".join(f"{place}/" for place in _KINDS)
        wanted = f"{layout.MANIFEST}, {layout.BLOCKS} and what is beneath {places}"
        raise CacheError(f"{path}: expected {wanted}, nothing else")
    if kind == "image" and (size > IMAGE_LIMIT or path.startswith("images/pages-")):
        return "pages"
    return kind


def digest_files(directory: str) -> dict[str, FileEntry]:
    """The manifest's "files" of the checkpoint in directory, by path; a tree of the container's own files is one entry.

    Its digest is that of the canonical listing (see tree_digest.py), its size that of the regular files in it.
    Writes blocks.json there, where a file has more than one block, and lists it too.
    Raises CacheError for a link or a device outside that tree, and for what can't be read.
    """
    found: dict[str, FileEntry] = {}
    of_blocks: dict[str, list[str]] = {}
    for path in walk(directory):
        if path != layout.BLOCKS:  # of an earlier look at this draft
            found[path] = _entry(directory, path, of_blocks)
    if of_blocks:
        blocks.write(directory, of_blocks)
        found[layout.BLOCKS] = _entry(directory, layout.BLOCKS, of_blocks)
    return found


def content_digest(directory: str, path: str, algorithm: str) -> str:
    """The digest, in hexadecimal, of a file's content by that algorithm, or of the layer's listing."""
    if layout.is_tree(path):
        return digest_tree(f"{directory}/{path}")[1]
    if algorithm == facts.BLAKE2B:
        return check.blake2b(directory, path)
    try:
        return blake3_of(f"{directory}/{path}")
    except OSError as error:
        raise CacheError(f"{path}: {error.strerror}") from error


def algorithm_of(kind: str, size: int) -> str:
    """Which digest a file of that kind and size in bytes gets."""
    if kind == "image" or (kind != "pages" and size <= SMALL):
        return facts.BLAKE2B
    return facts.BLAKE3_BLOCKS if size > blocks.BLOCK else facts.BLAKE3


def _entry(directory: str, path: str, of_blocks: dict[str, list[str]]) -> FileEntry:
    """One entry of "files"; the digests of its blocks, where it has such, go into of_blocks."""
    if layout.is_tree(path):
        size, value = digest_tree(f"{directory}/{path}")
        return {"kind": kind_of(path, size), "size": size, "digest": f"{facts.BLAKE3}:{value}"}
    try:
        size = os.lstat(f"{directory}/{path}").st_size
    except OSError as error:
        raise CacheError(f"{path}: {error.strerror}") from error
    kind = kind_of(path, size)
    algorithm = algorithm_of(kind, size)
    if algorithm == facts.BLAKE3_BLOCKS:
        of_blocks[path] = blocks.digests(directory, path)
        value = blocks.digest(of_blocks[path])
    else:
        value = content_digest(directory, path, algorithm)
    return {"kind": kind, "size": size, "digest": f"{algorithm}:{value}"}


def walk(directory: str) -> Iterator[str]:
    """Paths of a checkpoint's files and its writable layer's tree, without the manifest, in a fixed order.

    Raises CacheError for anything else than directories and regular files outside the tree.
    """
    pending = [""]
    try:
        while pending:
            below = pending.pop()
            for name in sorted(os.listdir(f"{directory}/{below}")):
                path = f"{below}{name}"
                mode = os.lstat(f"{directory}/{path}").st_mode
                if layout.is_tree(path) or (stat.S_ISREG(mode) and path != layout.MANIFEST):
                    yield path
                elif stat.S_ISDIR(mode):
                    pending.append(f"{path}/")
                elif path != layout.MANIFEST:
                    raise CacheError(f"{path}: expected a regular file, got {stat.filemode(mode)}")
    except OSError as error:
        raise CacheError(f"{directory}: {error.strerror}") from error
