"""The doctor's table: a check that breaks is reported as such, what is unknown is not ready, and the screen says so."""

import json
from collections.abc import Callable

import pytest
from tests.cli_made import Node

from glowplug.cli import doctor, screen
from glowplug.config import Config
from glowplug.errors import HostError
from glowplug.node.doctor import checks, disk
from glowplug.node.doctor.checks import Check, Checked, look
from glowplug.node.doctor.finding import Finding, ok, warning, wrong
from glowplug.node.doctor.probes import Probes

MISSING = wrong("none", "some", "apt-get install some")


@pytest.fixture
def node(tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Node:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(disk, "MEASURED_BYTES", disk.BLOCK_BYTES)
    return Node(str(tmp_path), monkeypatch, capsys)


def table(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> None:
    """Checks that find this, in place of the real ones."""
    made = tuple(Check(f"check {n}", found(one)) for n, one in enumerate(findings))
    monkeypatch.setattr(checks, "CHECKS", made)


def found(finding: Finding) -> Callable[[Probes], Finding]:
    return lambda _: finding


def raising(error: Exception) -> Callable[[Probes], Finding]:
    def check(_: Probes) -> Finding:
        raise error

    return check


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (HostError("a line\nand another"), "unknown: a line and another"),
        (ValueError(), "unknown: ValueError"),
        (OSError(5, "Input/output error"), "unknown: [Errno 5] Input/output error"),
        (KeyError("x" * 1000), f"unknown: '{'x' * 299}"),
    ],
)
def test_a_check_that_raises_is_unknown(error: Exception, said: str) -> None:
    probes = Probes(Config())
    assert look(Check("it", raising(error)), probes) == Finding("wrong", said)
    assert look(Check("it", raising(error), must=False), probes) == Finding("warning", said)


def test_a_warning_is_ready_and_a_wrong_is_not() -> None:
    assert checks.is_ready([Checked("a", ok("fine")), Checked("b", warning("so", "more", "fix"))])
    assert not checks.is_ready([Checked("a", ok("fine")), Checked("b", MISSING)])


def test_every_check_has_a_name_of_its_own_that_fits() -> None:
    names = [check.name for check in checks.CHECKS]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= doctor.NAME_COLUMNS


def test_no_check_raises_or_passes_where_nothing_is_there(node: Node) -> None:
    """The configuration of this test names no program that is there, and no socket."""
    status = node.run("doctor", "--json")
    found = {one["name"]: one for one in json.loads(status.out)["checks"]}
    assert status.status == 1
    for name in ("CRIU", "CRIU on this kernel", "runc", "containerd", "handler", "runtime: runc", "agent"):
        assert found[name]["level"] == "wrong", found[name]
    assert found["CRIU"]["fix"] and found["containerd"]["fix"] and found["agent"]["fix"]
    assert found["CRI"]["found"] == "unknown: containerd does not answer"


def test_json_says_everything(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    table(monkeypatch, ok("fine"), MISSING)
    ran = node.run("doctor", "--json")
    assert (ran.status, ran.err) == (1, "")
    assert json.loads(ran.out) == {
        "ready": False,
        "checks": [
            {"name": "check 0", "level": "ok", "found": "fine", "want": "", "fix": ""},
            {
                "name": "check 1",
                "level": "wrong",
                "found": "none",
                "want": "some",
                "fix": "apt-get install some",
            },
        ],
    }


def test_in_a_pipe_each_check_is_a_line(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    table(monkeypatch, ok("fine"), warning("slow \x1b[31m", "fast", "buy"), MISSING)
    ran = node.run("doctor")
    assert ran.status == 1
    assert [" ".join(line.split()) for line in ran.out.splitlines()] == [
        "ok check 0 fine",
        "warning check 1 slow \\x1b[31m; want: fast; fix: buy",
        "wrong check 2 none; want: some; fix: apt-get install some",
        "not ready: 1 ok, 1 warning, 1 wrong",
    ]


def test_a_ready_node_ends_with_status_0(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    table(monkeypatch, ok("fine"), warning("slow", "fast", "buy"))
    ran = node.run("doctor")
    assert (ran.status, ran.out.splitlines()[-1]) == (0, "ready: 1 ok, 1 warning")


def test_a_terminal_shows_what_to_do_beneath(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    long = "none at all \x1b[31m " + "none at all " * 8
    table(monkeypatch, ok("fine"), wrong(long, "some", "apt-get install some"))
    monkeypatch.setattr(
        screen, "console", lambda: Console(width=60, force_terminal=True, no_color=True, markup=False)
    )
    out = node.run("doctor").out
    plain = out.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
    lines = [line.rstrip() for line in plain.splitlines()]
    assert lines[0] == "✓ check 0                fine"
    assert lines[1].startswith("✗ check 1                none at all \\x1b[31m none")
    assert "    want                 some" in lines
    assert "    fix                  apt-get install some" in lines
    assert lines[-1] == "not ready: 1 ok, 1 wrong"
    assert max(map(len, lines)) <= 60


def test_a_program_without_an_answer_is_not_queried_again() -> None:
    probes = Probes(Config(containerd_socket="/nonexistent/containerd.sock"))
    with pytest.raises(Exception, match="can't be reached"):
        probes.containerd_version()
    for question in (probes.cri, probes.containerd_version, probes.handler):
        with pytest.raises(HostError, match=r"^containerd does not answer$"):
            question()


def test_only_root_may(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    ran = node.run("doctor")
    assert (ran.status, ran.out) == (2, "")
    assert "must run as root" in ran.err
