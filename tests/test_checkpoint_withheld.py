"""io_uring is answered by ENOSYS and nothing else of a seccomp profile changes."""

import copy
from typing import Any

from tests import checkpoint_made as made

from glowplug.checkpoint import bundle, io_uring

REFUSED = {"names": list(io_uring.CALLS), "action": "SCMP_ACT_ERRNO", "errnoRet": 38}


def profile_of(spec: dict[str, object]) -> Any:
    linux: Any = spec["linux"]
    return linux["seccomp"]


def test_a_profile_keeps_all_else() -> None:
    spec = made.spec()
    rules = [
        {"names": ["read", "io_uring_setup"], "action": "SCMP_ACT_ALLOW", "args": []},
        {"names": ["io_uring_enter"], "action": "SCMP_ACT_KILL_PROCESS"},
    ]
    spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO", "flags": ["x"], "syscalls": rules}
    before = copy.deepcopy(spec)
    edited = io_uring.without(spec, "x86_64")
    kept = {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": []}
    assert profile_of(edited) == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "flags": ["x"],
        "syscalls": [kept, REFUSED],
    }
    assert spec == before
    del profile_of(edited)["syscalls"], profile_of(spec)["syscalls"]
    assert edited == spec


def test_a_container_without_a_profile_gets_one_that_allows_all_else() -> None:
    spec = made.spec()
    del spec["linux"]["seccomp"]
    assert profile_of(io_uring.without(spec, "x86_64")) == {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [REFUSED],
    }
    assert bundle.read(spec).seccomp is None


def test_who_asks_for_io_uring_keeps_it() -> None:
    spec = made.spec()
    spec["annotations"][io_uring.ANNOTATION] = "allow"
    assert io_uring.without(spec, "x86_64") is spec
    spec["annotations"][io_uring.ANNOTATION] = "deny"
    assert io_uring.without(spec, "x86_64") is not spec


def test_twice_is_once() -> None:
    once = io_uring.without(made.spec(), "x86_64")
    assert io_uring.without(once, "x86_64") == once
