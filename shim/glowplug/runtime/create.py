"""`create`: restore the container where the agent has a match, else leave it to runc.

HOT up to the agent's answer. Promise 1 is kept here and in the script: whatever goes wrong ends in "run runc", and
the script does so when nothing is left of the attempt to restore (take_back.py).
"""

import os
import time

from glowplug import jsontext, paths
from glowplug.checkpoint import bundle, eligible, oci
from glowplug.errors import GlowplugError
from glowplug.outcomes import ask, report
from glowplug.outcomes.outcome import CompileCacheUse, Outcome
from glowplug.runtime import edit, take_back
from glowplug.runtime.argv import Command
from glowplug.runtime.status import RUNC

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from glowplug.restore.plan import Plan

NOT_AT_A_RESTORE = ("console-socket", "no-pivot", "pidfd-socket", "preserve-fds")
"""Options of `runc create` that `runc restore` does not have, or does otherwise."""


def run(runc: str, command: Command) -> int:
    """The exit status for the script: DONE or RUNC."""
    began = time.monotonic()
    try:
        with open(f"{command.bundle}/config.json", "rb") as file:
            spec = jsontext.loads(file.read())
        facts = bundle.read(spec)
        assert isinstance(spec, dict)  # or `read` would have said so
    except (OSError, ValueError, RecursionError, GlowplugError):
        return RUNC  # runc has words of its own for a bundle like this
    if facts.container_type != "container" or os.path.lexists(paths.attempt(command.container)):
        return RUNC  # in the second case the script takes it back first
    against: list[tuple[str, str]] | None = None
    try:
        against = eligible.ineligible(facts)
        status, outcome = _start(runc, command, spec, facts, against, began)
    except Exception as error:  # noqa: BLE001 - promise 1: no fault of ours costs a start
        status, outcome = RUNC, Outcome("cold:internal-error", f"{type(error).__name__}: {error}")
    if outcome is not None:
        outcome.total_s = round(time.monotonic() - began, 4)
        report.append({**report.names(command.container, facts), **outcome.to_json()})
    if status == RUNC and against == []:
        _edit(command.bundle, spec)
    return status


def _edit(directory: str, spec: oci.Spec) -> None:
    """Of a container that may be captured one day. One that can't be edited starts as it is."""
    try:
        edit.apply(directory, spec)
    except Exception:  # noqa: BLE001 - promise 1
        return


def _start(
    runc: str,
    command: Command,
    spec: oci.Spec,
    facts: bundle.BundleFacts,
    against: list[tuple[str, str]],
    began: float,
) -> tuple[int, Outcome | None]:
    """Anything left of an earlier try in this pod? Eligible? A match? Then restore.

    DONE or RUNC, and an outcome that has yet to be recorded.
    """
    left_behind = take_back.abandoned_in(facts.sandbox_id, command.container)
    match = _match(command, facts, against)
    if isinstance(match, Outcome):
        match.left_behind = left_behind
        return RUNC, match
    from glowplug.runtime import restore_container

    return restore_container.run(runc, command, spec, facts, match, began, left_behind)


def _match(command: Command, facts: bundle.BundleFacts, against: list[tuple[str, str]]) -> "Outcome | Plan":
    """The agent's plan where it has a match; else the outcome of a cold start."""
    question: dict[str, object] = {
        "op": "resolve",
        "container": command.container,
        "bundle": os.path.abspath(command.bundle),
    }
    for slug, sentence in against:
        never = Outcome(f"cold:{slug}", sentence)
        if eligible.may_use_compile_cache(facts, against):
            never.compile_cache = _warmed(command.bundle, facts, question)
        return never
    for option in NOT_AT_A_RESTORE:
        if option in command.options or option in command.flags:
            return Outcome("cold:runc-options", f"runc restore can't do what --{option} asks for")
    if not _is_placed(command, facts.cgroups_path):
        return Outcome(
            "cold:relative-cgroup",
            "linux.cgroupsPath is relative: the cgroup is below that of runc's caller",
        )
    try:
        answer = ask.plan(question, lambda: _be_ready(command.container))
    except ask.NoAnswer as error:
        return Outcome(f"cold:{error.slug}", error.detail)
    if answer.error is not None:
        return Outcome("cold:agent-error", answer.error)
    if answer.verdict != "match":
        missed = Outcome(f"cold:{answer.slug}", answer.detail)
        missed.compile_cache = _compile_cache(command.bundle, facts, answer)
        return missed
    from glowplug.restore.plan import BadPlan, Plan

    try:
        return Plan(answer.members)
    except BadPlan as error:
        return Outcome("cold:agent-bad-response", str(error))


def _be_ready(container: str) -> None:
    """Where the agent found a match when containerd made the container: what a restore imports, while the agent looks
    again. It takes longer than the answer."""
    if os.path.exists(f"{paths.prepared_start(container)}/{paths.MATCH}"):
        try:
            from glowplug.runtime import restore_container  # noqa: F401
        except Exception:  # noqa: BLE001 - promise 1: it is imported again where it is needed, and says so there
            return


def _warmed(directory: str, facts: bundle.BundleFacts, question: dict[str, object]) -> CompileCacheUse | None:
    """Of a container that is never restored: what its cold start finds of an earlier one."""
    try:
        return _compile_cache(directory, facts, ask.Answer(ask.ask(question)))
    except ask.NoAnswer:
        return None


def _compile_cache(directory: str, facts: bundle.BundleFacts, answer: ask.Answer) -> CompileCacheUse | None:
    """What the container's cold start finds of an earlier one, put there (give_compile_cache.give)."""
    if not answer.compile_cache:
        return None
    from glowplug.restore import give_compile_cache

    return give_compile_cache.give(answer.compile_cache, os.path.join(directory, facts.rootfs))


def _is_placed(command: Command, cgroups_path: str) -> bool:
    """An absolute path, or for systemd `slice:prefix:name` (runc, docs/systemd.md)."""
    return cgroups_path.startswith("/") or (
        "systemd-cgroup" in command.flags and cgroups_path.count(":") == 2
    )
