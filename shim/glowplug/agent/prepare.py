"""What is decided while containerd makes a container, before it is started: its cold start, made ready.

A container that has nothing to restore should start as fast as under plain runc, and an interpreter alone
costs tens of milliseconds. So the miss is written down when containerd tells of the new container, and
`create`, finding it, needs no Python. Where nothing is prepared, or the spec is another by then, `create` asks
as ever. A match is never prepared: that question is asked when the container starts; but its checkpoint's files can
be read meanwhile, and those of one that would match if they were read.

`prepared/ID/` holds, as files of root's alone:
    spec.json      the spec that was judged: `create` compares it with the bundle's
    edited.json    the spec that takes its place, where we edit one (docs/edits.md)
    outcome.json   the start's outcome; none for what is no start of ours, such as a sandbox
"""

import contextlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from glowplug import paths
from glowplug.agent.history import PREPARED
from glowplug.agent.newcomers import Newcomers
from glowplug.capture import judged
from glowplug.checkpoint import bundle, eligible, withheld
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.containerd.events import Event
from glowplug.containerd.records import ContainerRecord
from glowplug.containerd.rpc import NotFound
from glowplug.errors import GlowplugError
from glowplug.runtime import outcome

log = logging.getLogger("glowplug.agent")

Judge = Callable[[ContainerRecord, Mapping[str, Any], BundleFacts], Mapping[str, object]]
ReadAhead = Callable[[str], None]

KEPT_S = 600.0
"""A container that was not started for so long is asked about when it is."""


class Preparer:
    """Prepares in a thread of its own: an event's handler returns at once."""

    def __init__(self, newcomers: Newcomers, judge: Judge, read_ahead: ReadAhead) -> None:
        """`judge`: the agent's answer for a container (resolve.py). `read_ahead`: is told of a checkpoint to read."""
        self._newcomers = newcomers
        self._judge = judge
        self._read_ahead = read_ahead
        self._started: set[str] = set()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prepare")
        os.makedirs(paths.prepared(), 0o700, exist_ok=True)
        os.makedirs(paths.spool(), 0o700, exist_ok=True)
        forget_all()  # judged by another agent, perhaps long ago

    def created(self, event: Event) -> None:
        """/containers/create, after the newcomers were told."""
        if self._newcomers.is_foreign(event.container_id):
            return
        self._thread.submit(self._prepare, event.container_id).add_done_callback(_log_failure)

    def started(self, event: Event) -> None:
        """/tasks/start: what is not used by now, or comes too late, never will be."""
        if self._newcomers.is_foreign(event.container_id):
            return
        self._started.add(event.container_id)
        forget(event.container_id)

    def deleted(self, event: Event) -> None:
        """/containers/delete."""
        self._started.discard(event.container_id)
        forget(event.container_id)
        judged.forget(event.container_id)

    def close(self) -> None:
        """Waits for what is being prepared."""
        self._thread.shutdown(cancel_futures=True)

    def _prepare(self, container: str) -> None:
        try:
            record = self._newcomers.record(container)
            if record.is_of_our_handler:
                prepare(record, self._judge, self._read_ahead)
            if container in self._started:
                forget(container)
        except NotFound:
            return  # gone again
        except (GlowplugError, OSError) as error:
            log.warning("container %s: its start is not prepared: %s", container, error)


def prepare(record: ContainerRecord, judge: Judge, read_ahead: ReadAhead) -> None:
    """Write down the cold start of a container; nothing where it will be restored. Raises GlowplugError, OSError."""
    spec = dict(record.spec)
    facts = bundle.read(spec)
    files = {"spec.json": record.spec_text}
    if facts.container_type == "container":
        against = eligible.ineligible(facts)
        if against:
            slug, detail = against[0]
        else:
            answer = judge(record, spec, facts)
            wanted = answer.get("checkpoint") or answer.get("worth_if_read")
            if wanted:
                read_ahead(str(wanted))
            if answer.get("verdict") == "match":
                return
            slug, detail = str(answer["slug"]), str(answer["detail"])
            edited = withheld.without(spec, os.uname().machine)
            if edited is not spec:
                files["edited.json"] = json.dumps(edited).encode()
        files["outcome.json"] = _outcome(record, facts, slug, detail)
    _write(record.id, files)


def forget(container: str) -> None:
    """It is gone, or will be judged anew. One that was used stays until its outcome is taken in."""
    if not os.path.exists(f"{paths.spool()}/{container}{PREPARED}"):
        shutil.rmtree(paths.prepared_start(container), ignore_errors=True)


def forget_all(older_than_s: float = 0.0) -> None:
    """What nobody started, and nobody deleted."""
    for name in os.listdir(paths.prepared()):
        with contextlib.suppress(FileNotFoundError):
            if os.stat(paths.prepared_start(name)).st_mtime <= time.time() - older_than_s:
                forget(name)


def _log_failure(done: Future[None]) -> None:
    if not done.cancelled() and done.exception():
        log.error("a start could not be prepared", exc_info=done.exception())


def _outcome(record: ContainerRecord, facts: BundleFacts, slug: str, detail: str) -> bytes:
    """As the runtime would write it (runtime/outcome.py), but for the time, which is the marker's."""
    said = {
        "format": outcome.FORMAT,
        **outcome.names(record.id, facts),
        "outcome": f"cold:{slug}",
        "detail": detail,
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
