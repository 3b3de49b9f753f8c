"""The process that makes one capture for the agent: hooks, capture, and word of what came of it.

`python -m glowplug.agent.captures.worker`, a task (task.py) as JSON on its input, one JSON object on its
output. It is no part of the agent's own process: the agent stays small, and one that is killed breaks off no
capture. SIGTERM undoes a capture that is not done.
"""

import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from glowplug import config
from glowplug.agent.captures import canary, hooks, slots
from glowplug.agent.captures import journal as journals
from glowplug.agent.captures import task as tasks
from glowplug.agent.captures.journal import Journal
from glowplug.agent.captures.running import has_ended
from glowplug.agent.captures.task import UNDONE, Task
from glowplug.cache.store import Store
from glowplug.capture import judged, pipeline
from glowplug.capture.request import Result
from glowplug.checkpoint import manifest as manifests
from glowplug.containerd.client import Containerd
from glowplug.containerd.cri import Cri
from glowplug.errors import CaptureRefused, GlowplugError, HookError, NoSpace, NotRestorable, UsageError
from glowplug.host import ending, interrupts, process
from glowplug.outcomes import capture_outcome

PAUSES = "space"
"""The first step of a capture that others of the node have to wait for: the hooks before and after do not count."""

AWAKE = "rewrite"
"""The first step that asks nothing more of the container: an engine that sleeps is woken before it."""


def main() -> int:
    """The exit status: 0 with an answer on the output, UNDONE where it had to stop."""
    said = sys.stdin.read()
    if not said:
        return UNDONE  # the agent was killed before it could say what is to be captured
    task = tasks.of(json.loads(said))
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        answer = run(task)
    except KeyboardInterrupt:
        return UNDONE
    with contextlib.suppress(BrokenPipeError):  # the agent that started it is gone; the history has it all
        sys.stdout.write(json.dumps(answer))
        sys.stdout.flush()
    return 0


def run(task: Task) -> dict[str, object]:
    """`{"result": captured, refused or failed, "slug": …, "detail": …, "checkpoint": …}`."""
    try:
        journal = journals.begin(
            task.running.id,
            journals.Facts(task.running, task.runc_root, task.gpu, task.hook_timeout_s),
        )
    except BlockingIOError:
        return {
            "result": capture_outcome.REFUSED,
            "slug": "under-way",
            "detail": "a capture of it is under way",
            "reported": False,
            "passing": True,
        }
    earlier = _captured_before(task)
    if earlier is not None:
        journal.finish()
        return {"result": capture_outcome.NOT_NEEDED, "slug": "", "detail": earlier, "reported": False}
    errors: list[str] = []
    try:
        result = _captured(task, journal, errors)
    except KeyboardInterrupt:
        journal.finish()  # all of it is undone
        raise
    except GlowplugError as error:
        answer = _not_captured(task, error, errors)
    except OSError as error:
        answer = _not_captured(task, GlowplugError(str(error)), errors)
    else:
        capture_outcome.captured(result, "agent", task.pod_uid, errors)
        answer = {
            "result": capture_outcome.CAPTURED,
            "checkpoint": result.checkpoint,
            "pause_s": result.pause_s,
        }
    if task.end and answer.get("passing") is not True:
        journal.step("end")
        _end(task, answer)
    journal.finish()
    return answer


def _captured_before(task: Task) -> str | None:
    """What there is of this very container, in words: captured by a process that an earlier agent had begun.

    Called with the journal locked. Before that, a capture may end between the look and the act.
    """
    known = judged.of(task.running.id)
    if known is None or not known.key.digest:
        return None
    try:
        started = int(process.started_at(task.running.pid))  # a manifest's time has full seconds
        store = Store(task.config.cache, config.limits(task.config))
        for entry in store.index.find(known.namespace, known.key.digest):
            if entry.created >= started:
                made = manifests.loads(store.manifest(entry.id))
                if (made.pod, made.container) == (known.pod, known.name):
                    return f"checkpoint {entry.id} was made of it"
    except (GlowplugError, OSError):
        return None  # the capture itself meets it, and says so
    return None


def _captured(task: Task, journal: Journal, errors: list[str]) -> Result:
    of_node = task.config
    with (
        Containerd(of_node.containerd_socket, of_node.containerd_namespace) as containerd,
        Cri(of_node.containerd_socket) as cri,
    ):
        woken: list[float] = []

        def report(step: str, _: str) -> None:
            if step == AWAKE and task.after:
                pausing.close()
                with interrupts.deferred():  # the hook is not broken off
                    run_after()
                woken.append(time.monotonic())
            if step == PAUSES and journal.last_step != PAUSES:
                journal.step("slot")
                pausing.enter_context(slots.taken(of_node.max_concurrent_captures))
            journal.step(step)

        request = task.request
        probed = None
        if task.before:
            probed = pipeline.look(of_node, request, is_engine=task.before.kind == "engine")
        if task.canary:
            journal.step("canary")
            kept = canary.before_capture(task.canary, task.running, task.hook_timeout_s)
            request = replace(request, canary=kept)
        began = time.monotonic()
        with (
            _hooked(task, journal, containerd, cri, errors) as run_after,
            contextlib.ExitStack() as pausing,
        ):
            result = pipeline.run(of_node, request, report, probed)
            if woken:
                result.phases["asleep"] = round(woken[0] - began, 4)
            return result


@contextlib.contextmanager
def _hooked(
    task: Task, journal: Journal, containerd: Containerd, cri: Cri, errors: list[str]
) -> Iterator[Callable[[], None]]:
    """The hook before; and, however that and the capture ended, the one after, once: where the body calls what
    it gets here, or at its end. `errors`: what that one met."""
    journal.step_with_hook("before-capture", task.after)
    is_asleep = is_done = False

    def run_after() -> None:
        nonlocal is_done
        if is_done:
            return
        is_done = True
        journal.step("after-capture")
        if task.after:
            _after(task, containerd, cri, errors, is_asleep=is_asleep)
        journal.step_with_hook("after-capture", None)  # it is done

    try:
        if task.before:
            hooks.run(task.before, task.running, containerd, cri, task.hook_timeout_s)
            is_asleep = task.before.kind == "engine"
        yield run_after
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        run_after()
        journal.step("reported")


def _after(task: Task, containerd: Containerd, cri: Cri, errors: list[str], *, is_asleep: bool) -> None:
    """The hook after. Of an engine that was put to sleep it is tried again, and one that can't be woken is ended: it
    would answer its probe and no request.
    """
    assert task.after is not None
    until = time.monotonic() + 2 * task.hook_timeout_s
    for number in range(hooks.TRIES if is_asleep else 1):
        if number:
            time.sleep(hooks.again_after_s(number))
        try:
            hooks.run(task.after, task.running, containerd, cri, task.hook_timeout_s)
            return
        except HookError as error:
            failure = f"after-capture: {error}"
        if time.monotonic() >= until or has_ended(task.running):
            break
    errors.append(failure)
    if is_asleep:
        errors.append("it was put to sleep for the capture and can't be woken, so it is ended")
        ending.kill(task.running.pid)


def _not_captured(task: Task, error: GlowplugError, errors: list[str]) -> dict[str, object]:
    is_passing = isinstance(error, NoSpace) or (
        isinstance(error, CaptureRefused) and error.slug in capture_outcome.PASSING
    )
    if is_passing and not errors:
        slug = error.slug if isinstance(error, CaptureRefused) else "no-space"
        refused = {"result": capture_outcome.REFUSED, "slug": slug, "detail": str(error)}
        return {**refused, "reported": False, "passing": True}
    capture_outcome.not_captured(task.request, error, "agent", task.pod_uid, errors)
    slug = (
        error.slug
        if isinstance(error, CaptureRefused | NotRestorable)
        else "refused"
        if isinstance(error, UsageError)
        else ""
    )
    result = capture_outcome.REFUSED if isinstance(error, UsageError) else capture_outcome.FAILED
    return {"result": result, "slug": slug, "detail": str(error)}


def _end(task: Task, answer: dict[str, object]) -> None:
    """With status 0 where it was captured; else by SIGKILL, so that a Job sees that it was not."""
    if answer["result"] == capture_outcome.CAPTURED:
        ending.end_with_zero(task.running.pid)
    else:
        ending.kill(task.running.pid)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
