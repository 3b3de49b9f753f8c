"""A checkpoint out of a registry into this node's cache.

Packs of chunks are fetched side by side by processes of their own, each chunk verified, decrypted and written as it
comes, into a draft that nobody sees. A pull that was killed, or met a full disk, continues where it was; `publish`
reads all of it once more first.
"""

import time
from contextlib import suppress
from dataclasses import dataclass

from glowplug import paths
from glowplug.cache import draft
from glowplug.cache.store import Store
from glowplug.errors import CacheError, DamagedCheckpoint, RegistryMiss
from glowplug.registry import fetching, kept, processes, unsealing
from glowplug.registry.client import Repository
from glowplug.registry.found import Found
from glowplug.registry.index import Index
from glowplug.registry.settings import RegistrySettings
from glowplug.registry.writing import Writer


@dataclass(slots=True)
class Pulled:
    """What came of it. `fetched`: bytes of blobs; `resumed`: chunks that an earlier pull had written."""

    checkpoint: str
    digest: str
    content: int = 0
    fetched: int = 0
    resumed: int = 0
    was_there: bool = False
    seconds: float = 0.0


def pull(store: Store, repository: Repository, settings: RegistrySettings, found: Found) -> Pulled:
    """Into the cache, unless it is there. Raises RegistryMiss, RegistryError, CacheError; UsageError: no key for it."""
    began = time.monotonic()
    checkpoint = found.config.checkpoint
    if store.index.get(checkpoint) is not None:
        return Pulled(checkpoint, found.digest, was_there=True)
    repository.ask_nodes(found.digest)
    listed = unsealing.index_of(repository, settings, found)
    opened = store.resume(f"{draft.KEPT}{found.digest.removeprefix('sha256:')[:32]}", listed.bytes)
    try:
        try:
            done, fetched = _fetch(opened.path, repository, found, listed, settings.parallel)
        except (OSError, CacheError) as error:
            raise CacheError(
                f"checkpoint {checkpoint} can't be written: {error}; what is there is kept for a day"
            ) from error
        store.publish(opened, listed.manifest)
    except DamagedCheckpoint as error:
        opened.abandon()  # what was written before is no better than what was fetched now
        raise RegistryMiss("damaged", f"what came is not what was signed: {error}") from error
    finally:
        opened.leave()
    if settings.serve:
        kept.keep_quietly(store.root, found.digest, repository.seen, listed)
    with suppress(OSError), open(paths.published(), "w"):
        pass  # a cold start that was decided before this counts no longer
    return Pulled(
        checkpoint,
        found.digest,
        content=listed.bytes,
        fetched=fetched + found.artifact.index.size,
        resumed=len(done),
        seconds=round(time.monotonic() - began, 3),
    )


def _fetch(
    directory: str, repository: Repository, found: Found, listed: Index, parallel: int
) -> tuple[set[int], int]:
    """Every chunk that is not written yet, `parallel` parts at a time; the chunks that were there, bytes fetched."""
    writer = Writer(directory, listed)
    try:
        writer.prepare()
        parts = fetching.parts(listed, found.artifact.packs, writer.done)

        def fetch(number: int) -> int:
            part = parts[number]
            try:
                fetching.fetch(repository, listed, part, writer.write)
            finally:
                writer.note()
            return sum(listed.chunks[chunk].length for chunk in part.chunks)

        def begin(child: int) -> processes.Work:
            repository.become_child(child)
            return fetch

        if min(parallel, len(parts)) > 1:
            processes.run(range(len(parts)), parallel, begin)
        else:
            for number in range(len(parts)):
                fetch(number)
        writer.finish()
        return writer.done, sum(part.size for part in parts)
    finally:
        writer.close()
