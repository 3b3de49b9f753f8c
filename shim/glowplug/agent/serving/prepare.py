"""What is decided while containerd makes a container, before it is started: its cold start, made ready.

A container that has nothing to restore should start as fast as under plain runc, and an interpreter alone
costs tens of milliseconds. So the miss is written down when containerd reports the new container, and
`create`, finding it, needs no Python. Where nothing is prepared, or the spec is another by then, `create` asks
as ever. A match is never prepared: that is decided when the container starts; but its checkpoint's files can
be read meanwhile, and those of one that would match if they were read. Nor is a start that gets a compile cache.

`prepared/ID/` holds, as files of root's alone:
    spec.json      the spec that was judged: `create` compares it with the bundle's
    edited.json    the spec that takes its place, where we edit one (docs/edits.md)
    outcome.json   the start's outcome; none for what is no start of ours, such as a sandbox
    match          alone: the container will most likely be restored, and `create` makes itself ready for that while
                   it asks
"""

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping

from glowplug import paths
from glowplug.capture import policy
from glowplug.checkpoint import bundle, eligible, withheld
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.oci import Spec
from glowplug.containerd.records import ContainerRecord
from glowplug.host import seccomp
from glowplug.outcomes import report
from glowplug.outcomes.history import PREPARED

Judge = Callable[[ContainerRecord, Spec, BundleFacts], Mapping[str, object]]
ReadAhead = Callable[[str], None]

KEPT_S = 600.0
"""A container that was not started for so long is decided when it is."""


def begin() -> None:
    """Make the directories; what another agent has prepared, perhaps long ago, is forgotten. Raises OSError."""
    os.makedirs(paths.prepared(), 0o700, exist_ok=True)
    os.makedirs(paths.spool(), 0o700, exist_ok=True)
    forget_all()


def prepare(record: ContainerRecord, judge: Judge, read_ahead: ReadAhead, chosen: str) -> None:
    """Write down the cold start of a container; nothing where it will be restored.

    `read_ahead`: takes the id of a checkpoint to read. `chosen`: the configuration's capture_default_scope. Raises
    GlowplugError, OSError.
    """
    spec = record.spec
    facts = bundle.read(spec)
    files = {"spec.json": record.spec_text}
    if facts.container_type == "container":
        against = eligible.ineligible(facts)
        if against:
            if eligible.may_use_compile_cache(facts, against) and "compile_cache" in judge(
                record, spec, facts
            ):
                return
            slug, detail = against[0]
        else:
            answer = judge(record, spec, facts)
            wanted = answer.get("checkpoint") or answer.get("worth_if_read")
            if answer.get("verdict") == "match":
                _write(record.id, {paths.MATCH: json.dumps({"checkpoint": wanted}).encode()})
            if wanted and answer.get("unread_bytes") != 0:
                read_ahead(str(wanted))
            if answer.get("verdict") in ("match", "wait") or "compile_cache" in answer:
                return
            slug, detail = str(answer["slug"]), str(answer["detail"])
            edited = withheld.without(spec, seccomp.machine())
            if edited is not spec:
                files["edited.json"] = json.dumps(edited).encode()
        files["outcome.json"] = _outcome(record, facts, slug, detail, policy.is_chosen(facts, chosen))
    _write(record.id, files)


def forget(container: str) -> None:
    """It is gone, or will be judged again. One that was used stays until its outcome is taken in."""
    if not os.path.exists(f"{paths.spool()}/{container}{PREPARED}"):
        shutil.rmtree(paths.prepared_start(container), ignore_errors=True)


def forget_all(older_than_s: float = 0.0) -> None:
    """What nobody started, and nobody deleted."""
    for name in os.listdir(paths.prepared()):
        with contextlib.suppress(FileNotFoundError):
            if os.stat(paths.prepared_start(name)).st_mtime <= time.time() - older_than_s:
                forget(name)


def _outcome(record: ContainerRecord, facts: BundleFacts, slug: str, detail: str, chosen: bool) -> bytes:
    """As the runtime would write it (outcomes/report.py), except for the time, which is the marker's."""
    said = {
        "format": report.FORMAT,
        **report.names(record.id, facts),
        "outcome": f"cold:{slug}",
        "detail": detail,
        **({} if chosen else {"chosen": False}),
    }
    return json.dumps(said).encode()


def _write(container: str, files: Mapping[str, bytes]) -> None:
    """All of them, or none."""
    aside = tempfile.mkdtemp(prefix=".", dir=paths.prepared())
    try:
        for name, content in files.items():
            with open(
                os.open(f"{aside}/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb"
            ) as file:
                file.write(content)
        os.rename(aside, paths.prepared_start(container))
    except OSError:
        shutil.rmtree(aside, ignore_errors=True)
        raise
