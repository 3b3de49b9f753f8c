"""`create`: restore the container where the agent has a match, else leave it to runc.

HOT up to the agent's answer. Promise 1 is kept here and in the script: whatever goes wrong ends in "run runc", and
the script does so when nothing is left of the attempt to restore (take_back.py).
"""

import os
import time

from glowplug import jsontext, paths
from glowplug.checkpoint import bundle, eligible
from glowplug.errors import GlowplugError
from glowplug.runtime import ask, edit, outcome, take_back
from glowplug.runtime.argv import Command
from glowplug.runtime.status import DONE, RUNC

NOT_AT_A_RESTORE = ("console-socket", "no-pivot", "pidfd-socket", "preserve-fds")
"""Options of `runc create` that `runc restore` does not have, or does otherwise."""

Said = dict[str, object]


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
        said = _start(runc, command, spec, facts, against, began)
    except Exception as error:  # noqa: BLE001 - promise 1: no fault of ours costs a start
        said = {"outcome": "cold:internal-error", "detail": f"{type(error).__name__}: {error}"}
    if said is None:
        return DONE
    if "outcome" in said:
        outcome.append(
            {**outcome.names(command.container, facts), **said, "total_s": round(time.monotonic() - began, 4)}
        )
    if against == []:
        _edit(command.bundle, spec)
    return RUNC


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
) -> Said | None:
    """Anything left of an earlier try in this pod? Eligible? A match? Then restore.

    The outcome of a cold start; None where the container was restored.
    """
    beside = take_back.abandoned_in(facts.sandbox_id, command.container)
    noted: Said = {"left_behind": beside} if beside else {}
    for slug, sentence in against:
        return {"outcome": f"cold:{slug}", "detail": sentence, **noted}
    for option in NOT_AT_A_RESTORE:
        if option in command.options or option in command.flags:
            detail = f"runc restore can't do what --{option} asks for"
            return {"outcome": "cold:runc-options", "detail": detail, **noted}
    if not _is_placed(command, facts.cgroups_path):
        detail = "linux.cgroupsPath is relative: the cgroup is below that of whoever calls runc"
        return {"outcome": "cold:relative-cgroup", "detail": detail, **noted}
    try:
        answer = ask.plan(
            {"op": "resolve", "container": command.container, "bundle": os.path.abspath(command.bundle)}
        )
    except ask.NoAnswer as error:
        return {"outcome": f"cold:{error.slug}", "detail": error.detail, **noted}
    if "error" in answer:
        return {"outcome": "cold:agent-error", "detail": answer["error"], **noted}
    if answer.get("verdict") != "match":
        return {
            "outcome": f"cold:{answer.get('slug', 'agent-bad-response')}",
            "detail": answer.get("detail"),
            **noted,
        }
    from glowplug.runtime import restore_container

    return restore_container.run(runc, command, spec, facts, answer, began, noted)


def _is_placed(command: Command, cgroups_path: str) -> bool:
    """An absolute path, or for systemd `slice:prefix:name` (runc, docs/systemd.md)."""
    return cgroups_path.startswith("/") or ("systemd-cgroup" in command.flags and cgroups_path.count(":") == 2)
