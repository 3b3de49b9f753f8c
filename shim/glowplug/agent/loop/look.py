"""The first steps of a container: what it is, its cold start prepared, whether it waits for a capture or a waking."""

import contextlib
import time
from dataclasses import replace

from glowplug.agent.captures import candidate as candidates
from glowplug.agent.captures.candidate import Candidate
from glowplug.agent.captures.running import Running, look_up
from glowplug.agent.loop import keeping
from glowplug.agent.loop.parts import Parts, since
from glowplug.agent.loop.row import FINISHED, FOREIGN, GONE, NEVER, Case, Next, Row, State
from glowplug.agent.serving import prepare
from glowplug.capture import judged, weights
from glowplug.capture import policy as policies
from glowplug.capture.policy import is_chosen
from glowplug.checkpoint import bundle
from glowplug.containerd.records import ContainerRecord
from glowplug.containerd.rpc import NotFound
from glowplug.errors import CaptureRefused, GlowplugError
from glowplug.host import process
from glowplug.registry import fleet

NOT_YET_S = 2.0
"""Until a container that should run, and does not, is looked at again."""
UNTIL_LISTED_S = 30.0
"""Then it is left to the list."""


def look(parts: Parts, row: Row) -> Next:
    """A container that the agent hears of for the first time. Raises GlowplugError, OSError."""
    try:
        record = parts.containerd.container(row.id)
    except NotFound:
        return GONE
    if not record.is_of_our_handler:
        return FOREIGN
    facts = bundle.read(record.spec)
    is_sandbox = record.is_sandbox or facts.container_type != "container"
    if is_sandbox:
        parts.saw_namespace(facts.sandbox_namespace)
    if row.made and row.started is None:
        row.record = record
        prepare.prepare(record, parts.resolver.prepare, parts.read_ahead, parts.config.capture_default_scope)
        if row.started is not None:
            prepare.forget(row.id)  # it was started meanwhile, without
    if is_sandbox:
        row.record = None
        return FOREIGN
    return Next(State.CREATED, NEVER if row.made and row.started is None else 0.0)


def consider(parts: Parts, row: Row) -> Next:
    """One that was started: is it ours to capture or to wake? Raises GlowplugError, OSError."""
    try:
        record = row.record or parts.containerd.container(row.id)
    except NotFound:
        return GONE
    row.record = None
    candidate = candidates.of(parts.config, record)
    if candidate is None:
        return FOREIGN
    if not candidate.restored and not is_chosen(candidate.facts, parts.config.capture_default_scope):
        return FINISHED
    task = parts.containerd.task(row.id)
    if row.exited or (task is not None and task.status == "stopped"):
        return FINISHED
    running = look_up(parts.containerd, record, candidate.facts)
    if running is None:
        late = row.started is None or time.time() - row.started > UNTIL_LISTED_S
        return Next(State.CREATED, NEVER if late else NOT_YET_S)
    return _case(parts, row, replace(candidate, started=_started(row, running)), running)


def _started(row: Row, running: Running) -> float | None:
    """As containerd said, or the kernel does."""
    if row.started is not None:
        return since(row.started)
    with contextlib.suppress(OSError):
        return since(process.started_at(running.pid))
    return None


def _case(parts: Parts, row: Row, candidate: Candidate, running: Running) -> Next:
    config = parts.config
    slim = replace(candidate, record=_slim(candidate.record))
    try:
        policy = candidates.policy_of(candidate, config)
    except CaptureRefused as refused:
        if not judged.is_decided(candidate.id):
            parts.refused(slim, refused)
        if config.mode == "on":
            wanted = policies.wanted(candidate.facts, policies.when(config.capture))
            parts.end_if_wanted(slim, wanted, captured=candidate.restored)
        return FINISHED
    if candidate.restored:
        row.case = Case(slim, policy, running, None, until=0.0)
        return Next(State.WAKING, 0.0)
    if judged.is_decided(candidate.id) and policy.when not in ("any-time", "once-and-exit"):
        return FINISHED  # by an agent before this one; by now it serves
    until = time.monotonic() + config.readiness_timeout_s
    try:
        candidates.require_wanted(candidate, policy, config)
        found = candidates.identify(
            parts.containerd, candidate, running.pid, fleet.salt(config.registry, parts.store), config
        )
        parts.learned.require_capture(found.workload)
        if config.mode == "observe":
            raise CaptureRefused(
                "observed", "would be captured once it is ready; the node only observes (mode)"
            )
    except weights.Unread:
        return Next(State.CREATED, keeping.UNREAD_S)
    except CaptureRefused as refused:
        parts.refused(slim, refused)
        if config.mode == "on":
            parts.end_if_wanted(slim, policy.when, captured=False)
        row.case = Case(slim, policy, running, None, until)
        return keeping.rest(parts, row.case)
    row.case = Case(slim, policy, running, found, until)
    return Next(State.WAITING, 0.0)


def _slim(record: ContainerRecord) -> ContainerRecord:
    """Without its spec, which is most of it: there may be hundreds of them."""
    return replace(record, spec={}, spec_text=b"")


def harmless(error: Exception) -> bool:
    """Whether a step's failure is one that the world may have; else it is a fault of ours."""
    return isinstance(error, GlowplugError | OSError)
