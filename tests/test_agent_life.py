"""The agent as a process: it says that it is ready, serves metrics, takes in what it finds, and stops in order."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest
from tests.cli_made import Node

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the agent is root's")

WITHIN_S = 60.0


@pytest.fixture
def node(tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Node:
    return Node(str(tmp_path), monkeypatch, capsys)


class Agent:
    """A process, and what it reported the service manager."""

    def __init__(self, node: Node, manager: socket.socket) -> None:
        self._manager = manager
        self.log = f"{node.directory}/agent.log"
        env = {
            **os.environ,
            "GLOWPLUG_RUN_DIR": f"{node.directory}/run",
            "NOTIFY_SOCKET": f"{node.directory}/notify",
        }
        code = "import sys; from glowplug.cli.main import main; sys.argv[0] = 'glowplug'; main()"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, "agent", "--config", node.config], env=env, stderr=log
            )

    def said(self) -> str:
        """The next word to the service manager."""
        self._manager.settimeout(WITHIN_S)
        return self._manager.recv(100).decode()


@contextlib.contextmanager
def running(node: Node) -> Iterator[Agent]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{node.directory}/notify")
        agent = Agent(node, manager)
        try:
            yield agent
        finally:
            agent.process.kill()
            agent.process.wait()


def free_address() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def test_ready_metrics_and_a_stop_in_order(node: Node) -> None:
    address = free_address()
    node.configure({"metrics_listen": address, "kubernetes": "off"})
    with running(node) as agent:
        assert agent.said() == "READY=1"
        node.started(time.time(), "cold:no-agent")
        assert agent.said() == "WATCHDOG=1"  # after a round, in which the outcome was taken in
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as answer:
            assert b'glowplug_starts_total{outcome="cold",reason="no-agent"} 1.0' in answer.read()
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(WITHIN_S) == 0
        while (said := agent.said()) != "STOPPING=1":
            assert said == "WATCHDOG=1"
    assert [line["outcome"] for line in _history(node)] == ["cold:no-agent"]


def test_a_port_that_is_taken_and_a_kubeconfig_that_is_not_there_cost_no_agent(node: Node) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        node.configure({"metrics_listen": address, "kubernetes": f"{node.directory}/none"})
        with running(node) as agent:
            assert agent.said() == "READY=1"
            agent.process.send_signal(signal.SIGTERM)
            assert agent.process.wait(WITHIN_S) == 0
    with open(agent.log) as log:
        said = log.read()
    assert f"can't serve metrics on {address}: Address already in use" in said
    assert "Traceback" not in said


def test_a_wrong_key_is_one_line(node: Node) -> None:
    node.configure({"metrics_listen": "9464"})
    with running(node) as agent:
        assert agent.process.wait(WITHIN_S) == 2
    with open(agent.log) as log:
        assert log.read().count("\n") == 1


def test_another_criu_or_driver_begins_the_agent_again(node: Node) -> None:
    """What is loaded of the old driver does not talk to the new one, and checkpoints would be judged by old facts."""
    criu = f"{node.directory}/criu"

    def install(version: str) -> None:
        with open(f"{criu}.new", "w") as file:
            file.write(f"#!/bin/sh\necho Version: {version}\n")
        os.chmod(f"{criu}.new", 0o755)
        os.rename(f"{criu}.new", criu)

    install("4.1")
    node.configure({"kubernetes": "off", "criu": criu})
    with running(node) as agent:
        assert agent.said() == "READY=1"
        install("4.2.1")
        said = []
        while (word := agent.said()) != "READY=1":
            said.append(word)
        assert "STOPPING=1" in said
        assert agent.process.poll() is None
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(WITHIN_S) == 0
    with open(agent.log) as log:
        assert "msg=restarts" in log.read()


def _history(node: Node) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(node.run("history", "--json").out)
    return found
