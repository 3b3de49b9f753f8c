"""After a restore that did not come to its end, whatever ended it: the attempt is taken back, and the outcome recorded.

HOT until something is found. Done by the script before it runs `runc create` (`--take-back`), by the next `create` in
the same pod, and by `delete` of the container.
"""

import os

from glowplug import jsontext, paths
from glowplug.errors import GlowplugError
from glowplug.outcomes import report as reports
from glowplug.outcomes.outcome import Outcome
from glowplug.runtime.argv import Command
from glowplug.runtime.status import DONE, REFUSED, RUNC

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from glowplug.restore.journal import Journal


def run(runc: str, command: Command) -> int:
    """For the script, before it runs `runc create`: DONE where the restore had come about after all."""
    from glowplug.restore import attempt, report, take_back

    left = None
    try:
        left = attempt.adopt(command.container, take_back.LOCK_WAIT_S)
        if left is None:
            return _ended_without(command)
        if not left.journal.bundle:
            left.journal = _journal_of(runc, command)
        result = take_back.take_back(left, create_follows=command.verb == "create")
    except (GlowplugError, OSError, ValueError) as error:
        why = f"an interrupted restore of this container can't be taken back: {error}"
        if left is not None:
            report.once(left, Outcome("fallback:cleanup", why))
            left.release()
        reports.report_to_containerd(command.options.get("log"), why)
        return REFUSED
    return DONE if result == take_back.RESTORED else RUNC


def _ended_without(command: Command) -> int:
    """There is no attempt: the runtime was killed before it had begun one, or after it had finished it."""
    if command.verb != "create":
        return RUNC
    if os.path.exists(paths.marker(command.root, command.container)):
        return DONE
    killed = Outcome("cold:killed", "the runtime was killed before it had begun to restore")
    reports.append({**_names(command), **killed.to_json()})
    return RUNC


def _names(command: Command) -> dict[str, object]:
    """Whose start it was, as far as the bundle says it."""
    from glowplug.checkpoint import bundle

    try:
        with open(f"{command.bundle}/config.json", "rb") as file:
            return reports.names(command.container, bundle.read(jsontext.loads(file.read())))
    except (GlowplugError, OSError, ValueError):
        return {"container_id": command.container}


def abandoned_in(sandbox: str, container: str) -> str:
    """Take back what dead runtimes left of this container and in this pod; what could not be, in words.

    Never what a script still waits for: it takes that back itself.
    """
    try:
        if not os.listdir(paths.attempts()):
            return ""
    except OSError:
        return ""
    from glowplug.restore import attempt, take_back

    said = []
    for journal in attempt.left():
        if journal.id == container or (sandbox and journal.sandbox == sandbox):
            try:
                take_back.take_back_abandoned(journal, take_back.LOCK_WAIT_S)
            except Exception as error:  # noqa: BLE001 - another's old failure is no reason against this start
                said.append(f"an earlier restore in this pod ({journal.id}) can't be taken back: {error}")
    return "; ".join(said)


def _journal_of(runc: str, command: Command) -> "Journal":
    """Of an attempt whose journal can't be read: what the command and its bundle say. Raises OSError, ValueError."""
    from glowplug.checkpoint import bundle
    from glowplug.runtime import journal

    with open(f"{command.bundle}/config.json", "rb") as file:
        return journal.of(runc, command, bundle.read(jsontext.loads(file.read())))
