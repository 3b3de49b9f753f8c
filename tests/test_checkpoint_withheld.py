"""io_uring and MPTCP are refused as a kernel without them would, and nothing else of a seccomp profile changes."""

import copy
from typing import Any

import pytest
from tests import checkpoint_made as made

from glowplug.checkpoint import bundle, withheld

REFUSED = {"names": list(withheld.CALLS), "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
NO_MPTCP = {
    "names": ["socket"],
    "action": "SCMP_ACT_ERRNO",
    "errnoRet": 93,
    "args": [{"index": 2, "value": 262, "op": "SCMP_CMP_EQ"}],
}
NOT_MPTCP = {"index": 2, "value": 262, "op": "SCMP_CMP_NE"}
NOT_VSOCK = {"index": 0, "value": 40, "op": "SCMP_CMP_NE"}


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
    edited = withheld.without(spec, "x86_64")
    kept = {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": []}
    assert profile_of(edited) == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "flags": ["x"],
        "syscalls": [kept, REFUSED, NO_MPTCP],
    }
    assert spec == before
    del profile_of(edited)["syscalls"], profile_of(spec)["syscalls"]
    assert edited == spec


def test_a_container_without_a_profile_gets_one_that_allows_all_else() -> None:
    spec = made.spec()
    del spec["linux"]["seccomp"]
    assert profile_of(withheld.without(spec, "x86_64")) == {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [REFUSED, NO_MPTCP],
    }
    assert bundle.read(spec).seccomp is None


def test_who_asks_for_one_keeps_it() -> None:
    spec = made.spec()
    spec["annotations"][withheld.IO_URING] = "allow"
    assert profile_of(withheld.without(spec, "x86_64"))["syscalls"][-1] == NO_MPTCP
    spec["annotations"][withheld.MPTCP] = "allow"
    assert withheld.without(spec, "x86_64") is spec
    spec["annotations"][withheld.IO_URING] = "deny"
    assert profile_of(withheld.without(spec, "x86_64"))["syscalls"][-1] == REFUSED


ALLOWED: Any = {"names": ["socket"], "action": "SCMP_ACT_ALLOW"}


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ([{**ALLOWED, "args": []}], [{**ALLOWED, "args": [NOT_MPTCP]}, NO_MPTCP]),
        ([{**ALLOWED, "args": [NOT_VSOCK]}], [{**ALLOWED, "args": [NOT_VSOCK, NOT_MPTCP]}, NO_MPTCP]),
        (
            [{"names": ["read", "socket"], "action": "SCMP_ACT_ALLOW"}],
            [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}, {**ALLOWED, "args": [NOT_MPTCP]}, NO_MPTCP],
        ),
        (  # alternatives, each with ours
            [{**ALLOWED, "args": [{**NOT_VSOCK, "op": "SCMP_CMP_EQ"}, {**NOT_VSOCK, "op": "SCMP_CMP_LT"}]}],
            [
                {**ALLOWED, "args": [{**NOT_VSOCK, "op": "SCMP_CMP_EQ"}, NOT_MPTCP]},
                {**ALLOWED, "args": [{**NOT_VSOCK, "op": "SCMP_CMP_LT"}, NOT_MPTCP]},
                NO_MPTCP,
            ],
        ),
        (  # refused altogether: a word more would be an error
            [{"names": ["socket"], "action": "SCMP_ACT_ERRNO"}],
            [{"names": ["socket"], "action": "SCMP_ACT_ERRNO"}],
        ),
    ],
)
def test_a_rule_for_sockets_is_split(rules: list[Any], wanted: list[Any]) -> None:
    spec = made.spec()
    spec["annotations"][withheld.IO_URING] = "allow"
    spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}
    assert profile_of(withheld.without(spec, "x86_64"))["syscalls"] == wanted


def test_twice_is_once() -> None:
    once = withheld.without(made.spec(), "x86_64")
    assert withheld.without(once, "x86_64") == once
