"""After a runtime that was killed in the middle of a restore: take back what it left.

HOT until something is found. Done by the next `create` in the same pod, by `delete` of the container, and at
once where the script that started us survived.
"""

import os

from glowplug import paths
from glowplug.errors import GlowplugError
from glowplug.runtime import outcome
from glowplug.runtime.argv import Command
from glowplug.runtime.status import REFUSED, RUNC

DEADLINE_S = 15.0


def abandoned_in(sandbox: str, container: str, *, create_follows: bool = False) -> str:
    """Clean up after killed runtimes in this pod, or of this container; what stands against it, or nothing.

    `create_follows`: runc is about to create this container, whose rootfs the shim mounted for it.
    """
    try:
        if not os.listdir(paths.attempts()):
            return ""
    except OSError:
        return ""
    from glowplug.restore import attempt, cleanup

    def concerns(left: attempt.Attempt) -> bool:
        return left.id == container or (bool(sandbox) and left.text("sandbox") == sandbox)

    for left in attempt.abandoned(concerns):
        try:
            follows = create_follows and left.id == container
            cleanup.clean_up(left, DEADLINE_S, create_follows=follows)
        except (GlowplugError, OSError) as error:
            return f"an earlier restore in this pod ({left.id}) can't be taken back: {error}"
    return ""


def run(command: Command) -> int:
    """For the script, whose `create` was killed: after this runc can create the container."""
    refused = abandoned_in("", command.container, create_follows=True)
    if refused:
        outcome.tell_containerd(command.options.get("log"), refused)
    said = {"outcome": "fallback:killed", "detail": refused or "the runtime was killed during the restore"}
    outcome.append({"container_id": command.container, **said})
    return REFUSED if refused else RUNC
