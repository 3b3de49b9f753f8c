"""The one edit that a container's spec gets: what no CRIU can dump is not there for its programs. Pure.

HOT: the runtime imports this at every create of an eligible container. Programs ask for io_uring and for MPTCP and
do without where the kernel has none (ENOSYS, EPROTONOSUPPORT); a filter says so for it (config-linux.md, "Seccomp").
"""

from glowplug.checkpoint.bundle import OWN_ANNOTATIONS
from glowplug.checkpoint.oci import Spec

IO_URING = OWN_ANNOTATIONS + "io-uring"
MPTCP = OWN_ANNOTATIONS + "mptcp"
ALLOW = "allow"
ENOSYS, EPROTONOSUPPORT = 38, 93
CALLS = ("io_uring_setup", "io_uring_enter", "io_uring_register")
IPPROTO_MPTCP = 262
_PROTOCOL = 2  # socket(2)'s argument, from 0
_NO_CALL = {"names": list(CALLS), "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}
_NO_MPTCP = {
    "names": ["socket"],
    "action": "SCMP_ACT_ERRNO",
    "errnoRet": EPROTONOSUPPORT,
    "args": [{"index": _PROTOCOL, "value": IPPROTO_MPTCP, "op": "SCMP_CMP_EQ"}],
}
_OTHER_PROTOCOL = {"index": _PROTOCOL, "value": IPPROTO_MPTCP, "op": "SCMP_CMP_NE"}
_REFUSING = (
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
)
_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}


def without(spec: Spec, machine: str) -> Spec:
    """The spec with io_uring and MPTCP refused; the same object where its owner allows both.

    machine: uname's. The rest of a profile is kept; a container without one gets one that allows the rest.
    """
    annotations, linux = spec.get("annotations"), spec.get("linux")
    if not isinstance(linux, dict) or machine not in _ARCHITECTURES:
        return spec
    allowed = annotations if isinstance(annotations, dict) else {}
    no_io_uring, no_mptcp = (allowed.get(name) != ALLOW for name in (IO_URING, MPTCP))
    if not no_io_uring and not no_mptcp:
        return spec
    profile = linux.get("seccomp") or {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": _ARCHITECTURES[machine],
    }
    entries = list(profile.get("syscalls") or ())
    if no_io_uring:
        # Two actions for one call would be an error: the profile's own word on these goes.
        entries = [entry for entry in map(_without_calls, entries) if entry["names"]] + [_NO_CALL]
    if no_mptcp:
        entries = [part for entry in entries if entry != _NO_MPTCP for part in _of_other_protocols(entry)]
        if not any("socket" in entry["names"] and not entry.get("args") for entry in entries):
            entries.append(_NO_MPTCP)
    return {**spec, "linux": {**linux, "seccomp": {**profile, "syscalls": entries}}}


def _without_calls(entry: dict[str, object]) -> dict[str, object]:
    names = entry["names"]
    assert isinstance(names, list)
    return {**entry, "names": [name for name in names if name not in CALLS]}


def _of_other_protocols(entry: dict[str, object]) -> list[dict[str, object]]:
    """A rule that lets socket(2) through, in parts that say nothing of MPTCP: an unconditional one would cover ours.

    Conditions on one argument are alternatives, on several arguments they count together (config-linux.md); a rule
    that names the protocol itself, or refuses the call, stays as it is.
    """
    names, args = entry["names"], entry.get("args") or []
    assert isinstance(names, list) and isinstance(args, list)
    indexes = [arg.get("index") for arg in args]
    if "socket" not in names or entry["action"] in _REFUSING or _PROTOCOL in indexes:
        return [entry]
    others = [name for name in names if name != "socket"]
    alternatives = [[arg] for arg in args] if len(set(indexes)) < len(indexes) else [args]
    return [
        *([{**entry, "names": others}] if others else []),
        *({**entry, "names": ["socket"], "args": [*one, _OTHER_PROTOCOL]} for one in alternatives),
    ]
