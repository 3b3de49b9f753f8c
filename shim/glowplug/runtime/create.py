"""`create`: restore the container where the agent has a match, else leave it to runc.

HOT up to the agent's answer. Promise 1 is kept here: whatever goes wrong ends in "run runc", with the
outcome recorded, but for processes that can't be killed.
"""

import os
import time

from glowplug import jsontext
from glowplug.checkpoint import bundle, eligible
from glowplug.errors import GlowplugError
from glowplug.runtime import ask, edit, outcome, take_back
from glowplug.runtime.argv import Command
from glowplug.runtime.status import DONE, REFUSED, RUNC

CONTAINER_STDIO = (7, 8, 9)
RESTORE_DEADLINE_S = 60.0
CLEANUP_DEADLINE_S = 15.0


def run(runc: str, command: Command) -> int:
    """The exit status for the script: DONE, REFUSED or RUNC."""
    began = time.monotonic()
    try:
        with open(f"{command.bundle}/config.json", "rb") as file:
            spec = jsontext.loads(file.read())
        facts = bundle.read(spec)
        assert isinstance(spec, dict)  # or `read` would have said so
    except (OSError, ValueError, RecursionError, GlowplugError):
        return RUNC  # runc has words of its own for a bundle like this
    if facts.container_type != "container":
        return RUNC
    against: list[tuple[str, str]] | None = None
    try:
        against = eligible.ineligible(facts)
        status, said = _start(runc, command, spec, facts, against, began)
    except Exception as error:  # noqa: BLE001 - promise 1: no fault of ours costs a start
        status, said = RUNC, {"outcome": "cold:internal-error", "detail": f"{type(error).__name__}: {error}"}
    outcome.append(
        {**outcome.names(command.container, facts), **said, "total_s": round(time.monotonic() - began, 4)}
    )
    if status == REFUSED:
        outcome.tell_containerd(command.options.get("log"), str(said.get("detail")))
    if status == RUNC and against == []:
        _edit(command.bundle, spec)
    return status


def _edit(directory: str, spec: dict[str, object]) -> None:
    """Of a container that may be captured one day. One that can't be edited starts as it is."""
    try:
        edit.apply(directory, spec)
    except Exception:  # noqa: BLE001 - promise 1
        return


def _start(
    runc: str,
    command: Command,
    spec: dict[str, object],
    facts: bundle.BundleFacts,
    against: list[tuple[str, str]],
    began: float,
) -> tuple[int, dict[str, object]]:
    """Eligible? Anything left of an earlier try in this pod? A match? Then restore."""
    refused = take_back.abandoned_in(facts.sandbox_id, command.container)
    if refused:
        return REFUSED, {"outcome": "fallback:cleanup", "detail": refused}
    for slug, sentence in against:
        return RUNC, {"outcome": f"cold:{slug}", "detail": sentence}
    try:
        plan = ask.ask(
            {"op": "resolve", "container": command.container, "bundle": os.path.abspath(command.bundle)}
        )
    except ask.NoAnswer as error:
        return RUNC, {"outcome": f"cold:{error.slug}", "detail": error.detail}
    if "error" in plan:
        return RUNC, {"outcome": "cold:agent-error", "detail": plan["error"]}
    if plan.get("verdict") != "match":
        return RUNC, {"outcome": f"cold:{plan.get('slug', 'agent-rubbish')}", "detail": plan.get("detail")}
    return _restore(runc, command, spec, facts, plan, began)


def _restore(
    runc: str,
    command: Command,
    spec: dict[str, object],
    facts: bundle.BundleFacts,
    plan: dict[str, object],
    began: float,
) -> tuple[int, dict[str, object]]:
    from glowplug.restore import attempt, child, cleanup, pipeline, steps

    child.die_with_parent(os.getppid())
    said: dict[str, object] = {name: plan.get(name) for name in ("checkpoint", "unread_bytes")}
    phases = {"resolve": round(time.monotonic() - began, 4)}
    said["phases"] = phases
    bundle_path = os.path.abspath(command.bundle)
    trial = attempt.begin(
        {
            "id": command.container,
            "sandbox": facts.sandbox_id,
            "root": command.root,
            "runc": runc,
            "bundle": bundle_path,
            "rootfs": os.path.join(bundle_path, facts.rootfs),
            "cache": plan.get("cache"),
            "pid_file": os.path.abspath(command.options.get("pid-file", f"{bundle_path}/init.pid")),
            "cgroups_path": facts.cgroups_path,
            "systemd_cgroup": "systemd-cgroup" in command.flags,
        }
    )
    deadline_s = plan.get("deadline_s")
    allowed_s = (
        min(deadline_s, RESTORE_DEADLINE_S) if isinstance(deadline_s, int | float) else RESTORE_DEADLINE_S
    )
    work = steps.Work(trial, plan, spec, CONTAINER_STDIO, began + allowed_s)
    try:
        pipeline.run(work, phases)
    except pipeline.Failed as failure:
        said |= {"outcome": f"fallback:{failure.stage}", "detail": failure.detail}
        try:
            try:
                steps.abandon(work)
            finally:
                cleanup.clean_up(trial, CLEANUP_DEADLINE_S, create_follows=True)
        except Exception as error:  # noqa: BLE001 - whatever it was: runc would meet what is left
            known = isinstance(error, GlowplugError | OSError)
            why = str(error) if known else f"{type(error).__name__}: {error}"
            said["detail"] = f"{failure}; and then the clean-up: {why}"
            return REFUSED, said
        return RUNC, said
    trial.finish()
    return DONE, {**said, "outcome": "restored", "memory_bytes": work.memory_bytes}
