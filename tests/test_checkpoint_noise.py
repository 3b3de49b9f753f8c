"""Noise: recognised by value or as a whole group, never by a name alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import checkpoint_made as made

from glowplug.checkpoint.noise import SandboxFacts, by_value, in_args, service_links, shown

FACTS = made.SANDBOX_FACTS


def named(name: str) -> SandboxFacts:
    """A pod that somebody named by hand."""
    return SandboxFacts(name=name, namespace="models", uid="", hostname=name, node_names=("localhost",))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("HOSTNAME", made.POD, "<pod-name>"),
        ("ANYTHING", made.POD, "<pod-name>"),
        ("X", made.UID, "<pod-uid>"),
        ("POD_IP", "10.1.2.3", "<pod-ip>"),
        ("HOST_IP", "192.168.7.7", "<node-ip>"),
        ("NODE_NAME", "gpu-node-7", "<node-name>"),
    ],
)
def test_a_value_of_this_sandbox_is_noise(name: str, value: str, expected: str) -> None:
    assert shown(by_value(FACTS, name, value)) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # the right name, another value
        ("HOSTNAME", "db.example"),
        ("POD_IP", "10.1.2.4"),
        ("POD_NAME", "server"),
        # the value as a part of another
        ("X", "10.1.2.33"),
        ("X", "110.1.2.3"),
        ("X", "10.1.2.3.example"),
        ("X", f"{made.POD}-cache"),
        # a node's name behind a variable that does not speak of nodes
        ("GPU_TYPE", "gpu-node-7"),
        # nobody's
        ("NAMESPACE", "models"),
        ("X", ""),
    ],
)
def test_anything_else_is_not(name: str, value: str) -> None:
    assert by_value(FACTS, name, value) == value


@pytest.mark.parametrize(
    "value", ["10.1.2.3:8000", "http://10.1.2.3:8000/x", "a,10.1.2.3,b", f"uid={made.UID}", "[10.1.2.3]"]
)
def test_a_distinctive_value_is_noise_where_it_stands_on_its_own(value: str) -> None:
    cleaned = by_value(FACTS, "X", value)
    assert cleaned != value
    assert "10.1.2.3" not in cleaned
    assert made.UID not in cleaned


def test_an_ipv6_address_is_noise_in_brackets_and_alone() -> None:
    facts = SandboxFacts(name="p", namespace="n", uid="", ips=("fd00::12",))
    assert shown(by_value(facts, "X", "fd00::12")) == "<pod-ip>"
    assert "fd00::12" not in by_value(facts, "X", "http://[fd00::12]:80/")
    assert by_value(facts, "X", "fd00::12:1") == "fd00::12:1"


def test_a_pod_named_like_its_model_does_not_hide_the_model() -> None:
    facts = named("llama-3")
    assert by_value(facts, "MODEL", "llama-3") == "llama-3"
    assert in_args(facts, ["serve", "--model=llama-3", "--model", "llama-3", "llama-3"]) == [
        "serve",
        "--model=llama-3",
        "--model",
        "llama-3",
        "llama-3",
    ]
    assert shown(by_value(facts, "HOSTNAME", "llama-3")) == "<pod-name>"
    assert shown(by_value(facts, "POD_NAME", "llama-3")) == "<pod-name>"


def test_a_node_called_localhost_does_not_hide_localhost() -> None:
    assert by_value(named("p"), "DB_SERVER", "localhost") == "localhost"


def test_loopback_and_any_address_stand_for_nobody() -> None:
    facts = SandboxFacts(name="p", namespace="n", uid="", ips=("127.0.0.1", "0.0.0.0", "::1"))
    assert [by_value(facts, "X", ip) for ip in facts.ips] == list(facts.ips)


def test_noise_in_args_stands_whole_or_behind_its_flag() -> None:
    cleaned = in_args(FACTS, ["server", "--ip=10.1.2.3", "--node-name", "gpu-node-7", "gpu-node-7", made.POD])
    assert cleaned[1] != "--ip=10.1.2.3"
    assert cleaned[1].startswith("--ip=")
    assert shown(cleaned[3]) == "<node-name>"
    assert cleaned[4] == "gpu-node-7"
    assert shown(cleaned[5]) == "<pod-name>"


def test_nobody_can_write_a_placeholder() -> None:
    assert shown("<pod-name>") is None
    assert shown("pod-name") is None
    forged = by_value(FACTS, "HOSTNAME", made.POD)
    assert "\0" in forged
    assert by_value(FACTS, "X", forged) == forged
    assert by_value(FACTS, "X", "\0pod-name\0 10.1.2.3") == "\0pod-name\0 10.1.2.3"


@given(st.text(max_size=20), st.text(max_size=40))
@settings(deadline=None)
def test_a_value_that_holds_none_of_the_facts_is_left_alone(name: str, value: str) -> None:
    known = (FACTS.name, FACTS.uid, FACTS.hostname, *FACTS.ips, *FACTS.node_ips, *FACTS.node_names)
    if not any(fact in value for fact in known):
        assert by_value(FACTS, name, value) == value


def links(*entries: str) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in entries)


WHOLE = links(*made.service("DB", "10.96.7.7", 5432))


def test_a_whole_group_of_service_links_is_noise() -> None:
    assert service_links(WHOLE | {"DB_USER": "me", "PATH": "/bin"}) == set(WHOLE)


def test_a_group_with_several_ports_is_noise() -> None:
    two = WHOLE | links(*(entry for entry in made.service("DB", "10.96.7.7", 9187) if "_PORT_9187_" in entry))
    two["DB_SERVICE_PORT_METRICS"] = "9187"
    assert service_links(two) == set(two)


def test_a_group_of_an_ipv6_service_is_noise() -> None:
    found = {name: value.replace("://10.96.7.7:", "://[fd00::7]:") for name, value in WHOLE.items()}
    found = {name: "fd00::7" if value == "10.96.7.7" else value for name, value in found.items()}
    assert service_links(found) == set(found)


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_a_group_with_a_part_that_disagrees_is_no_noise(name: str) -> None:
    assert service_links(WHOLE | {name: "10.0.0.1"}) == set()


@pytest.mark.parametrize("name", sorted(name for name in WHOLE if name != "DB_SERVICE_PORT_HTTP"))
def test_a_group_with_a_part_missing_is_no_noise(name: str) -> None:
    assert service_links({one: value for one, value in WHOLE.items() if one != name}) == set()


def test_names_alone_are_no_group() -> None:
    assert service_links({"DB_SERVICE_HOST": "db.example", "DB_SERVICE_PORT": "5432"}) == set()
    assert service_links({"DB_SERVICE_HOST": "10.0.0.1"}) == set()


def test_two_groups_are_told_apart() -> None:
    broken = links(*made.service("WEB", "10.96.1.1", 80)) | {"WEB_PORT": "80"}
    assert service_links(WHOLE | broken) == set(WHOLE)
