"""The journal of the attempt that a command begins: who calls, and what its bundle says."""

import os

from glowplug.checkpoint.bundle import BundleFacts
from glowplug.host import process_life
from glowplug.outcomes import report
from glowplug.restore.journal import Journal
from glowplug.runtime.argv import Command

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from glowplug.restore.plan import Plan


def of(runc: str, command: Command, facts: BundleFacts, plan: "Plan | None" = None) -> Journal:
    """plan: what is to be restored; None where that is not known any more."""
    bundle = os.path.abspath(command.bundle)
    script = os.getppid()
    return Journal(
        command.container,
        sandbox=facts.sandbox_id,
        root=command.root,
        runc=runc,
        bundle=bundle,
        rootfs=os.path.join(bundle, facts.rootfs),
        cache=plan.cache if plan else "",
        checkpoint=plan.checkpoint if plan else "",
        compile_cache=plan.compile_cache if plan else "",
        pid_file=os.path.abspath(command.options.get("pid-file", f"{bundle}/init.pid")),
        cgroups_path=facts.cgroups_path,
        systemd_cgroup="systemd-cgroup" in command.flags,
        script=(script, process_life.start_time(script) or 0),
        start=report.names(command.container, facts),
    )
