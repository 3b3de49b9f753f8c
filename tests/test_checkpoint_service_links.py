"""Service links: recognised as complete groups, in linear time; where two pods have one, it must be the same."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from tests import checkpoint_made as made

from glowplug.checkpoint import verdict
from glowplug.checkpoint.key import WorkloadKey
from glowplug.checkpoint.service_links import groups, text


def links(*entries: str) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in entries)


def names(env: Mapping[str, str]) -> set[str]:
    return {name for group in groups(env).values() for name in group}


COMPLETE = links(*made.service("DB", "10.96.7.7", 5432))


def test_a_complete_group_is_one() -> None:
    assert groups(COMPLETE | {"DB_USER": "me", "PATH": "/bin"}) == {"DB": COMPLETE}


def test_a_group_with_several_ports_is_one() -> None:
    two = COMPLETE | links(
        *(entry for entry in made.service("DB", "10.96.7.7", 9187) if "_PORT_9187_" in entry)
    )
    two["DB_SERVICE_PORT_METRICS"] = "9187"
    assert groups(two) == {"DB": two}


def test_a_group_of_an_ipv6_service_is_one() -> None:
    found = {name: value.replace("://10.96.7.7:", "://[fd00::7]:") for name, value in COMPLETE.items()}
    found = {name: "fd00::7" if value == "10.96.7.7" else value for name, value in found.items()}
    assert groups(found) == {"DB": found}


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_a_group_with_a_part_that_disagrees_is_none(name: str) -> None:
    assert groups(COMPLETE | {name: "10.0.0.1"}) == {}


@pytest.mark.parametrize("name", sorted(name for name in COMPLETE if name != "DB_SERVICE_PORT_HTTP"))
def test_a_group_with_a_part_missing_is_none(name: str) -> None:
    assert groups({one: value for one, value in COMPLETE.items() if one != name}) == {}


def test_names_alone_are_no_group() -> None:
    assert groups({"DB_SERVICE_HOST": "db.example", "DB_SERVICE_PORT": "5432"}) == {}
    assert groups({"DB_SERVICE_HOST": "10.0.0.1"}) == {}


def test_two_groups_are_reported_separately() -> None:
    broken = links(*made.service("WEB", "10.96.1.1", 80)) | {"WEB_PORT": "80"}
    assert names(COMPLETE | broken) == set(COMPLETE)


def test_services_that_are_called_like_each_other_s_variables_are_reported_separately() -> None:
    odd = [links(*made.service(name, f"10.96.0.{n}", 80 + n)) for n, name in enumerate(ODD, 1)]
    env = {name: value for group in odd for name, value in group.items()}
    assert groups(env) == dict(zip(ODD, odd, strict=True))


ODD = ("A_SERVICE", "B_PORT", "C", "C_SERVICE_PORT_X", "D_PORT_80_TCP_E", "DB_2", "2", "3SCALE", "X_80", "X")


def test_a_port_of_two_protocols_and_others_with_names() -> None:
    """As kube-dns has them; the variables of the second port name the first one nowhere."""
    group = links(
        "DNS_SERVICE_HOST=10.96.0.10",
        "DNS_SERVICE_PORT=53",
        "DNS_SERVICE_PORT_DNS=53",
        "DNS_SERVICE_PORT_DNS_TCP=53",
        "DNS_SERVICE_PORT_METRICS=9153",
        "DNS_PORT=udp://10.96.0.10:53",
    )
    for port, protocol in (("53", "udp"), ("53", "tcp"), ("9153", "tcp")):
        name = f"DNS_PORT_{port}_{protocol.upper()}"
        group |= links(
            f"{name}={protocol}://10.96.0.10:{port}",
            f"{name}_PROTO={protocol}",
            f"{name}_PORT={port}",
            f"{name}_ADDR=10.96.0.10",
        )
    assert groups(group) == {"DNS": group}
    for name in group:
        assert groups(group | {name: "1"}) == {}, name


def test_another_value_of_a_group_is_another_text() -> None:
    one = links(*(entry for entry in made.service("DB", "10.96.7.7", 5432) if "_PORT_HTTP" not in entry))
    other_port = {name.replace("5432", "80"): value.replace("5432", "80") for name, value in one.items()}
    udp = {name.replace("TCP", "UDP"): value.replace("tcp", "udp") for name, value in one.items()}
    host = {name: value.replace("7.7", "7.8") for name, value in one.items()}
    found = [groups(env)["DB"] for env in (one, other_port, udp, host, COMPLETE)]
    assert len({text(group) for group in found}) == len(found)
    assert text(groups(dict(reversed(one.items())))["DB"]) == text(found[0])


class Counting(dict[str, str]):
    """Counts how often the environment is gone through."""

    walks = 0

    def __iter__(self) -> Iterator[str]:
        Counting.walks += 1
        return super().__iter__()


@pytest.mark.parametrize("services", [3, 300])
def test_the_environment_is_gone_through_as_often_for_many_services_as_for_few(services: int) -> None:
    """Once for each service is quadratic: ten seconds for a thousand, where an answer is due in one."""
    env = Counting(
        links(*(entry for n in range(services) for entry in made.service(f"S{n}", "10.96.1.1", 80)))
    )
    Counting.walks = 0
    assert len(groups(env)) == services
    assert Counting.walks <= 2


def reasons(captured: list[str], wanted: list[str], namespace: str = "models") -> list[str]:
    def key_of(env: list[str]) -> WorkloadKey:
        spec = made.spec()
        spec["process"]["env"] += env
        return made.key_of(spec)

    manifest = made.manifest_of(key_of(captured), shared=True)
    now = replace(made.NOW, namespace=namespace, accepts=frozenset(("models",)))
    found = verdict.judge(manifest, key_of(wanted), made.HOST, made.RESOURCES, now)
    return [f"{reason.part} ({reason.slug})" for reason in found.reasons]


DB, OTHER_DB = made.service("DB", "10.96.7.7", 5432), made.service("DB", "10.96.8.8", 5432)


def test_a_service_that_both_have_must_be_the_same() -> None:
    assert reasons(DB, DB) == []
    assert reasons(DB, OTHER_DB) == ["service DB (service-links)"]


def test_a_service_that_is_gone_or_new_is_no_difference() -> None:
    assert reasons(DB, []) == []
    assert reasons([], DB) == []


def test_a_service_of_another_namespace_must_be_there() -> None:
    """The process would continue talking to an address that is none of this namespace's services."""
    assert reasons(DB, DB, "others") == []
    assert reasons(DB, [], "others") == ["service DB (service-links)"]
    assert reasons([], DB, "others") == []
