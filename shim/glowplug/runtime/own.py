"""What the runtime writes down of a restore that it begins: all that another process needs in order to undo it."""

import os

from glowplug.checkpoint.bundle import BundleFacts
from glowplug.host import process_life
from glowplug.outcomes import report
from glowplug.restore.attempt import Facts
from glowplug.runtime.argv import Command


def facts(
    runc: str,
    command: Command,
    found: BundleFacts,
    cache: str = "",
    checkpoint: str = "",
    compile_cache: str = "",
) -> Facts:
    """found: what the bundle of this command says."""
    bundle = os.path.abspath(command.bundle)
    script = os.getppid()
    return Facts(
        id=command.container,
        sandbox=found.sandbox_id,
        root=command.root,
        runc=runc,
        bundle=bundle,
        rootfs=os.path.join(bundle, found.rootfs),
        cache=cache,
        checkpoint=checkpoint,
        compile_cache=compile_cache,
        pid_file=os.path.abspath(command.options.get("pid-file", f"{bundle}/init.pid")),
        cgroups_path=found.cgroups_path,
        systemd_cgroup="systemd-cgroup" in command.flags,
        script=[script, process_life.start_time(script) or 0],
        start=report.names(command.container, found),
    )
