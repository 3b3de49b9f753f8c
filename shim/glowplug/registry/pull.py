"""A checkpoint out of a registry into this node's cache.

Chunks are fetched side by side, each verified, decrypted and written as it comes, into a draft that nobody sees. A
pull that was killed, or met a full disk, goes on where it was; `publish` reads all of it once more before it counts.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass

from glowplug import paths
from glowplug.cache import check, draft
from glowplug.cache.store import Store
from glowplug.checkpoint import manifest as manifests
from glowplug.errors import CacheError, DamagedCheckpoint, ManifestError, RegistryMiss, UsageError
from glowplug.registry import chunks, index, keys, seal
from glowplug.registry.client import Repository
from glowplug.registry.config import Config
from glowplug.registry.index import Index
from glowplug.registry.look import Found
from glowplug.registry.settings import RegistrySettings
from glowplug.registry.writing import Writer

Report = Callable[[int, int], None]

_SEALED_MORE = 1 << 20  # bytes that a blob may be larger than what is in it


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


def pull(
    store: Store,
    repository: Repository,
    settings: RegistrySettings,
    found: Found,
    report: Report = lambda done, all: None,
) -> Pulled:
    """Into the cache, unless it is there. Raises RegistryMiss, RegistryError, CacheError; UsageError: no key for it."""
    began = time.monotonic()
    checkpoint = found.config.checkpoint
    if store.index.get(checkpoint) is not None:
        return Pulled(checkpoint, found.digest, was_there=True)
    listed = _index(repository, settings, found)
    opened = store.resume(f"{draft.KEPT}{found.digest.removeprefix('sha256:')[:32]}", listed.bytes)
    try:
        done = _fetch(opened.path, repository, found, listed, settings.parallel, report)
        store.publish(opened, listed.manifest)
    except DamagedCheckpoint:
        opened.abandon()  # what was written before is no better than what was fetched now
        raise
    except OSError as error:
        raise CacheError(
            f"checkpoint {checkpoint} can't be written: {error}; what is there is kept for a day"
        ) from error
    finally:
        opened.leave()
    with suppress(OSError), open(paths.published(), "w"):
        pass  # a cold start that was decided before this counts no longer
    fetched = sum(
        found.artifact.chunks[number].size for number in range(len(listed.chunks)) if number not in done
    )
    return Pulled(
        checkpoint,
        found.digest,
        content=listed.bytes,
        fetched=fetched + found.artifact.index.size,
        resumed=len(done),
        seconds=round(time.monotonic() - began, 3),
    )


def _index(repository: Repository, settings: RegistrySettings, found: Found) -> Index:
    """Raises RegistryMiss unless the index is that of this artifact, and its manifest that of its config."""
    content_key = _content_key(settings, found) if found.config.is_sealed else None
    blob = repository.blob(found.artifact.index, index.LIMIT)
    listed = index.loads(seal.open_index(blob, content_key, found.config.bound_to, index.LIMIT))
    if [chunk.digest for chunk in listed.chunks] != [chunk.digest for chunk in found.artifact.chunks]:
        raise RegistryMiss("damaged", "the index lists other chunks than the manifest")
    if found.config.is_sealed and not all(chunk.key for chunk in listed.chunks):
        raise RegistryMiss("damaged", "the index has chunks without a key")
    _require_manifest(listed.manifest, found.config)
    return listed


def _content_key(settings: RegistrySettings, found: Found) -> bytes:
    own = {key.public_key().public_bytes_raw(): key for key in keys.identities(settings, found.namespace)}
    for wrapped in found.config.recipients:
        if wrapped.recipient in own:
            return seal.unwrap(wrapped, own[wrapped.recipient], found.namespace)
    raise UsageError(
        f"checkpoint {found.config.checkpoint} is encrypted for none of this node's keys "
        f"(registry.identities, namespace {found.namespace})"
    )


def _require_manifest(data: bytes, said: Config) -> None:
    try:
        manifest = manifests.loads(data)
    except ManifestError as error:
        raise RegistryMiss("damaged", str(error)) from error
    if (
        check.checkpoint_id(data) != said.checkpoint
        or manifest.namespace != said.namespace
        or manifest.key.digest != said.key
        or manifest.requirements != said.requirements
    ):
        raise RegistryMiss("damaged", "the checkpoint's manifest is not the one that its config describes")


def _fetch(
    directory: str, repository: Repository, found: Found, listed: Index, parallel: int, report: Report
) -> set[int]:
    """Every chunk that is not written yet, `parallel` at a time; those that were there."""
    writer = Writer(directory, listed)
    stopping = threading.Event()
    lock = threading.Lock()
    try:
        writer.prepare()
        before = set(writer.done)
        all_bytes = sum(chunk.length for chunk in listed.chunks)
        done = sum(listed.chunks[number].length for number in before)

        def work(number: int) -> None:
            nonlocal done
            if stopping.is_set():
                return
            chunk, blob = listed.chunks[number], found.artifact.chunks[number]
            content = repository.blob(
                blob, min(chunks.LIMIT, chunk.length + chunk.length // 64) + _SEALED_MORE
            )
            writer.write(number, seal.open_chunk(content, chunk.key, chunk.length))
            with lock:
                done += chunk.length
                report(done, all_bytes)

        with ThreadPoolExecutor(parallel, thread_name_prefix="pull") as pool:
            try:
                waiting = [
                    pool.submit(work, number) for number in range(len(listed.chunks)) if number not in before
                ]
                ended, _ = wait(waiting, return_when=FIRST_EXCEPTION)
                stopping.set()
                for one in ended:
                    one.result()
            finally:
                stopping.set()
                pool.shutdown(cancel_futures=True)
        writer.finish()
        return before
    finally:
        writer.close()
