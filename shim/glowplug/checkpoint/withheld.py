"""The one edit that a container's spec gets: no io_uring, which no CRIU can dump. Pure.

HOT: the runtime imports this at every create of an eligible container. Programs ask for io_uring and do without
where the kernel has none (ENOSYS); a filter says so for it (config-linux.md, "Seccomp").
"""

from glowplug.checkpoint.bundle import OWN_ANNOTATIONS

ANNOTATION = OWN_ANNOTATIONS + "io-uring"
ALLOW = "allow"
ENOSYS = 38
CALLS = ("io_uring_setup", "io_uring_enter", "io_uring_register")
_REFUSED = {"names": list(CALLS), "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}
_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}


def without(spec: dict[str, object], machine: str) -> dict[str, object]:
    """The spec with io_uring answered by ENOSYS; the same object where its owner allows io_uring.

    machine: uname's. A profile keeps all else that it says; a container without one gets one that allows all else.
    """
    annotations, linux = spec.get("annotations"), spec.get("linux")
    if not isinstance(linux, dict) or machine not in _ARCHITECTURES:
        return spec
    if isinstance(annotations, dict) and annotations.get(ANNOTATION) == ALLOW:
        return spec
    profile = linux.get("seccomp") or {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": _ARCHITECTURES[machine],
    }
    # Two actions for one call would be an error: the profile's own word on these goes.
    others = [_without_calls(entry) for entry in profile.get("syscalls") or ()]
    refusing = {**profile, "syscalls": [entry for entry in others if entry["names"]] + [_REFUSED]}
    return {**spec, "linux": {**linux, "seccomp": refusing}}


def _without_calls(entry: dict[str, object]) -> dict[str, object]:
    names = entry["names"]
    assert isinstance(names, list)
    return {**entry, "names": [name for name in names if name not in CALLS]}
