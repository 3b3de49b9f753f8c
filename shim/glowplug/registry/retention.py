"""What a repository holds, and what goes: by hand, by age, by number, or all of it when its namespace has ended.

Registries list tags and nothing else, so each checkpoint has a tag of its own (names.checkpoint_tag). Deleting a
manifest frees no blob: that is the registry's own garbage collection.
"""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from glowplug.errors import RegistryMiss
from glowplug.registry import names, oci
from glowplug.registry.client import Repository
from glowplug.registry.oci import Artifact


@dataclass(frozen=True, slots=True)
class Row:
    """One artifact, as its manifest says; whether to trust it, is looked at when it is pulled."""

    checkpoint: str
    digest: str
    key: str
    host_class: str
    created: str
    pushed: float
    bytes: int
    is_newest: bool


def rows(repository: Repository) -> list[Row]:
    """Every checkpoint of the repository, the newest first. Raises RegistryError."""
    tags = list(repository.tags())
    newest = {tag: _digest(repository, tag) for tag in tags if names.is_host_tag(tag)}
    found = {}
    for tag in tags:
        data = repository.manifest(tag) if names.is_checkpoint_tag(tag) else None
        if data is None:
            continue
        try:
            artifact = oci.loads(data)
        except RegistryMiss:
            continue  # somebody else's
        digest = names.digest(data)
        found[digest] = _row(artifact, digest, newest)
    return sorted(found.values(), key=lambda row: (-row.pushed, row.digest))


def remove(repository: Repository, digest: str) -> None:
    """Its signatures, what refers to it, the artifact itself: an interrupted removal leaves no signature alone."""
    for referrer in repository.referrers(digest):
        if names.is_digest(referrer.get("digest")):
            repository.delete_manifest(str(referrer["digest"]))
    repository.delete_manifest(digest)
    for tag in (names.referrers_tag(digest), names.signature_tag(digest)):
        data = repository.manifest(tag)
        if data is not None:
            repository.delete_manifest(names.digest(data))


def plan(
    listed: Iterable[Row],
    *,
    keep: int,
    older_than_s: float | None,
    everything: bool,
    now: float | None = None,
) -> list[tuple[Row, str]]:
    """What goes and why: all but the newest `keep` of each workload and class of hosts, and what is older."""
    moment = time.time() if now is None else now
    of: dict[tuple[str, str], int] = defaultdict(int)
    going = []
    for row in sorted(listed, key=lambda one: -one.pushed):
        of[row.key, row.host_class] += 1
        if everything:
            going.append((row, "the namespace has ended"))
        elif of[row.key, row.host_class] > keep:
            going.append((row, f"there are {keep} newer ones of its workload"))
        elif older_than_s is not None and moment - row.pushed > older_than_s:
            going.append((row, f"it was pushed more than {older_than_s / 86_400:g} days ago"))
    return going


def orphans(repository: Repository) -> list[str]:
    """Tags of signatures whose artifact is gone."""
    return [
        tag
        for tag in repository.tags()
        if (signed := names.signed_by_tag(tag)) and repository.manifest(signed) is None
    ]


def remove_tag(repository: Repository, tag: str) -> None:
    """The manifest that a tag leads to."""
    data = repository.manifest(tag)
    if data is not None:
        repository.delete_manifest(names.digest(data))


def _digest(repository: Repository, tag: str) -> str:
    data = repository.manifest(tag)
    return names.digest(data) if data is not None else ""


def _row(artifact: Artifact, digest: str, newest: dict[str, str]) -> Row:
    said = artifact.annotations
    return Row(
        checkpoint=said[names.CHECKPOINT],
        digest=digest,
        key=said[names.KEY],
        host_class=said[names.HOST_CLASS],
        created=said.get(names.CREATED, ""),
        pushed=artifact.pushed,
        bytes=artifact.bytes,
        is_newest=newest.get(names.host_tag(said[names.KEY], said[names.HOST_CLASS])) == digest,
    )
