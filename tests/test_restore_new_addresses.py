"""A socket bound to the old pod's address gets the new pod's, or the restore is abandoned."""

from unittest.mock import patch

import pytest

from glowplug.checkpoint import bundle
from glowplug.criu.image_fixups import ImageFixups
from glowplug.errors import CriuError
from glowplug.podnet.interfaces import Interface
from glowplug.restore import new_addresses

FACTS = bundle.read({"linux": {"namespaces": [{"type": "network", "path": "/run/netns/new"}]}})
ETH0, NET1 = ("eth0", 0), ("net1", 0)


def instead(places: dict[str, tuple[str, int]], *new: Interface) -> dict[str, str]:
    with patch("glowplug.podnet.interfaces.read", return_value=new):
        return new_addresses.instead_of(ImageFixups(tuple(places), False, places), FACTS)


def test_nothing_is_queried_where_no_socket_is_bound_to_an_address() -> None:
    assert new_addresses.instead_of(ImageFixups((), False, {}), bundle.read({})) == {}


def test_each_interface_has_an_address_of_its_own() -> None:
    new = Interface("eth0", ("10.1.0.9/24", "fd00::9/64", "fe80::9/64")), Interface("net1", ("10.2.0.9/16",))
    old = {"10.1.0.7": ETH0, "10.2.0.7": NET1, "fd00::7": ETH0}
    assert instead(old, *new) == {"10.1.0.7": "10.1.0.9", "10.2.0.7": "10.2.0.9", "fd00::7": "fd00::9"}


def test_the_only_address_serves_where_the_interface_has_another_name() -> None:
    assert instead({"10.1.0.7": ("ens5", 0)}, Interface("eth0", ("10.1.0.9/24",))) == {"10.1.0.7": "10.1.0.9"}


def test_a_checkpoint_that_says_no_interfaces_has_one_address_of_a_family() -> None:
    with patch("glowplug.podnet.interfaces.read", return_value=(Interface("eth0", ("10.1.0.9/24",)),)):
        assert new_addresses.instead_of(ImageFixups(("10.1.0.7",), False, {}), FACTS) == {
            "10.1.0.7": "10.1.0.9"
        }
        with pytest.raises(CriuError, match="can't be known: bind it to the wildcard address"):
            new_addresses.instead_of(ImageFixups(("10.1.0.7", "10.2.0.7"), False, {}), FACTS)


@pytest.mark.parametrize("new", [(), (Interface("eth0", ("10.1.0.9/24", "10.1.0.10/24")),)])
def test_an_interface_that_is_not_there_is_refused(new: tuple[Interface, ...]) -> None:
    with pytest.raises(CriuError, match=r"bound to 10\.2\.0\.7 of net1"):
        instead({"10.2.0.7": NET1}, *new)


@pytest.mark.parametrize("spec", [{}, {"linux": {"namespaces": [{"type": "network"}]}}, {"linux": None}])
def test_a_pod_that_can_t_be_queried_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(CriuError, match="joins no network"):
        new_addresses.instead_of(ImageFixups(("10.1.0.7",), False, {"10.1.0.7": ETH0}), bundle.read(spec))


def test_link_local_addresses_are_not_among_the_pod_s() -> None:
    """As /proc has them: IPv6 in hexadecimal, without zeros in front of a group."""
    seen = ["10.1.0.9", "169.254.7.7", "fd00::9", "fe80::1", "febf::1", "::1"]
    with (
        patch("glowplug.podnet.addresses.process_of", return_value="self"),
        patch("glowplug.podnet.addresses.of_process", return_value=seen),
    ):
        assert new_addresses.of_pod(FACTS) == ["10.1.0.9", "fd00::9", "::1"]
