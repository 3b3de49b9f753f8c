"""A socket bound to the old pod's address gets the new pod's, or the restore is given up."""

import os

import pytest

from glowplug.errors import CriuError
from glowplug.restore import new_addresses

SPEC: dict[str, object] = {"linux": {"namespaces": [{"type": "ipc", "path": f"/proc/{os.getpid()}/ns/ipc"}]}}


def test_nothing_is_asked_where_no_socket_is_bound_to_an_address() -> None:
    assert new_addresses.instead_of((), {}) == {}


@pytest.mark.parametrize("old", [("10.1.0.7", "10.2.0.7"), ("fd00::7", "fd00::8")])
def test_two_old_addresses_of_one_family_are_refused(old: tuple[str, ...]) -> None:
    with pytest.raises(CriuError, match=r"a socket is bound to .*wanted one IPv[46] address"):
        new_addresses.instead_of(old, SPEC)


@pytest.mark.parametrize("spec", [{}, {"linux": {"namespaces": [{"type": "ipc"}]}}, {"linux": None}])
def test_a_pod_that_can_t_be_asked_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(CriuError, match="found no process of its sandbox"):
        new_addresses.instead_of(("10.1.0.7",), spec)
