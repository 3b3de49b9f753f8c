"""CRIU: there, new enough, where runc finds it, and fit for this kernel by its own word."""

import os
from collections.abc import Mapping

from glowplug.criu import program
from glowplug.errors import CriuError
from glowplug.node.doctor import programs
from glowplug.node.doctor.finding import Finding, ok, warning, wrong
from glowplug.node.doctor.probes import Probes

INSTALL = "hack/bootstrap-node.sh, or set `criu` in the configuration"

LONGEST = 200
"""Characters of CRIU's own words that a finding shows."""

FEATURES: Mapping[str, str] = {
    "mnt_id": "files in containers",
    "kcmp_epoll": "event loops",
    "timerfd": "event loops",
    "fdinfo_lock": "file locks",
    "seccomp_suspend": "containers with a seccomp profile",
    "seccomp_filters": "containers with a seccomp profile",
    "sk_ns": "sockets in a pod's network",
    "external_net_ns": "a pod's network",
    "tcp_half_closed": "TCP connections within a container",
    "timens": "CLOCK_MONOTONIC that continues",
    "can_map_vdso": "every process",
    "clone3_set_tid": "processes with their old numbers",
    "get_rseq_conf": "programs of today's C library",
    "overlayfs_maps": "programs in an image's layers",
}
"""Features as `criu check --feature` names them (criu/cr-check.c), and what needs them."""


def version(probes: Probes) -> Finding:
    """CRIU's version."""
    try:
        return judge_version(probes.config.criu, program.version(probes.config.criu))
    except CriuError as error:
        return wrong(str(error), f"CRIU {_oldest()} or newer", INSTALL)


def judge_version(path: str, found: tuple[int, ...]) -> Finding:
    """`path`: of the program; runc runs whatever is called criu in its directory."""
    text = f"{'.'.join(map(str, found))}, {path}"
    if found < program.MINIMUM:
        return wrong(text, f"CRIU {_oldest()} or newer", INSTALL)
    if os.path.basename(path) != "criu":
        return wrong(
            text, "a program called criu: runc looks for one of that name", f"ln -s {path} DIRECTORY/criu"
        )
    return ok(text)


def _oldest() -> str:
    return ".".join(map(str, program.MINIMUM))


def check(probes: Probes) -> Finding:
    """`criu check`: what CRIU can't do without at all."""
    return judge_check(programs.run([probes.config.criu, "check"]))


def judge_check(said: programs.Said) -> Finding:
    """`said`: what `criu check` printed, and its status."""
    if said.status == 0:
        return ok("looks good")
    return wrong(
        _reason(said.text), "`criu check` to look good", "boot a kernel that has it; see `criu check -v4`"
    )


def features(probes: Probes) -> Finding:
    """The kernel's features that `criu check --feature` knows."""
    criu = probes.config.criu
    return judge_features(
        {name: programs.run([criu, "check", "--feature", name]).status == 0 for name in FEATURES}
    )


def judge_features(found: Mapping[str, bool]) -> Finding:
    """`found`: name → whether CRIU says that kernel and CRIU together have it."""
    missing = [name for name, there in found.items() if not there]
    if not missing:
        return ok(f"all {len(found)} there")
    needs = ", ".join(dict.fromkeys(FEATURES[name] for name in missing))
    return warning(
        f"lacks {', '.join(missing)}", f"for {needs}", "boot a newer kernel, or install a newer CRIU"
    )


def _reason(text: str) -> str:
    """The first error that CRIU names: "Error (criu/cr-check.c:301): Kernel doesn't support …"; else its first line,
    as of an option in /etc/criu that it does not know."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Warn ")]
    errors = [line.partition("): ")[2] for line in lines if line.startswith("Error (")]
    said = next(filter(None, [*errors, *lines]), "")
    return said[:LONGEST] or "`criu check` failed and said nothing"
