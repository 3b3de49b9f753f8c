"""systemd hears that the agent is ready, stops, and lives; the last only while its loops do."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug import paths
from glowplug.agent import service_manager
from glowplug.agent.serving.server import Server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the socket answers root only")


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What systemd listens on."""
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listening:
        listening.bind(str(tmp_path / "notify"))
        yield listening


@pytest.fixture
def loop(manager: socket.socket) -> Iterator[threading.Thread]:
    """The agent's server, answering."""
    server = Server({"history": lambda _: {"records": []}})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="server")
    thread.start()
    yield thread
    server.shutdown()
    thread.join()
    server.server_close()


def said(manager: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(manager.recv(100))
        except BlockingIOError:
            return found


def test_ready_and_stopping_are_reported(manager: socket.socket) -> None:
    service_manager.ready()
    service_manager.stopping()
    assert said(manager) == [b"READY=1", b"STOPPING=1"]


def test_the_watchdog_is_fed_while_the_loops_live(manager: socket.socket, loop: threading.Thread) -> None:
    assert service_manager.alive([loop])
    assert said(manager) == [b"WATCHDOG=1"]


def test_a_loop_that_has_ended_starves_the_watchdog(manager: socket.socket, loop: threading.Thread) -> None:
    ended = threading.Thread(target=lambda: None, name="events")
    ended.start()
    ended.join()
    assert not service_manager.alive([loop, ended])
    assert said(manager) == []


def test_an_agent_that_does_not_answer_starves_the_watchdog(manager: socket.socket) -> None:
    assert not service_manager.alive([threading.current_thread()])
    assert said(manager) == []


def test_an_abstract_socket_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"glowplug-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listening:
        listening.bind(f"\0{name}")
        service_manager.ready()
        assert said(listening) == [b"READY=1"]


def test_without_a_service_manager_nothing_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service_manager.ready()
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/notify")
    service_manager.ready()
