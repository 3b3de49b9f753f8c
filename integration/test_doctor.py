"""`glowplug doctor` on a real node: ready where all is there, and the line that says what is not."""

import json
import os
import subprocess
from typing import Any

import pytest

from glowplug.host import process
from integration.node import GLOWPLUG, RUNTIME, Node


def findings(node: Node) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit status, and each check's finding by name, as the command says them on this node."""
    done = subprocess.run(
        [GLOWPLUG, "doctor", "--json"], env=node.env, capture_output=True, text=True, timeout=120
    )
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert said["ready"] is (done.returncode == 0)
    return done.returncode, {one["name"]: one for one in said["checks"]}


def wrong(found: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, one in found.items() if one["level"] == "wrong"]


def test_a_node_with_an_agent_is_ready(agent: Node) -> None:
    before = sorted(os.listdir(agent.names.cache)), process.children(os.getpid())
    status, found = findings(agent)
    assert (status, wrong(found)) == (0, [])
    assert found["handler"]["found"] == RUNTIME
    assert found["handler: annotations"]["level"] == "ok"
    assert found["handler: runc's state"]["found"] == agent.names.runc_root
    assert "MB/s" in found["cache: speed"]["found"]
    assert not [one for one in found.values() if one["found"].startswith("does not know")]
    # It leaves nothing: no file that it measured with, no process.
    assert (sorted(os.listdir(agent.names.cache)), process.children(os.getpid())) == before


def test_without_an_agent_it_says_so(agent: Node) -> None:
    agent.stop_agent()
    status, found = findings(agent)
    assert (status, wrong(found)) == (1, ["agent"])
    assert found["agent"]["found"] == f"{agent.agent_socket}: No such file or directory"
    assert found["agent"]["fix"] == "systemctl start glowplug-agent"


def test_without_criu_it_says_so(agent: Node, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: agent.write_settings({}))
    agent.write_settings({"criu": "/nonexistent/criu"})
    status, found = findings(agent)
    assert (status, wrong(found)) == (1, ["CRIU", "CRIU on this kernel"])
    assert "CRIU is not installed at /nonexistent/criu" in found["CRIU"]["found"]
    assert "hack/bootstrap-node.sh" in found["CRIU"]["fix"]
    assert found["CRIU's features"]["found"].startswith("unknown: /nonexistent/criu can't be run")


def test_a_terminal_of_80_columns_is_not_overrun(agent: Node) -> None:
    """Through script(1), which gives a program a terminal."""
    done = subprocess.run(
        ["script", "-qec", f"stty cols 80; NO_COLOR=1 {GLOWPLUG} doctor", "/dev/null"],
        env={**agent.env, "TERM": "dumb"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert lines[0].startswith("✓ kernel ")
    assert lines[-1].startswith("ready: ")
    assert max(map(len, lines)) <= 80
