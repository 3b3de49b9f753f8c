"""One question to the agent, within one deadline, however busy the agent is."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug import paths
from glowplug.outcomes import ask

LONG_S = 60.0
SHORT_S = 0.3


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A listener that takes nobody on its own, with space for one caller that waits."""
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(paths.agent_socket())
        server.listen(0)
        yield server


def fill(agent: socket.socket) -> list[socket.socket]:
    """Callers until no more fit."""
    callers: list[socket.socket] = []
    while True:
        caller = socket.socket(socket.AF_UNIX)
        caller.setblocking(False)
        try:
            caller.connect(paths.agent_socket())
        except BlockingIOError:
            caller.close()
            return callers
        callers.append(caller)


def answer(agent: socket.socket, skip: int) -> None:
    """Takes callers as an agent would, and answers the one after `skip`."""
    for _ in range(skip):
        agent.accept()[0].close()
    connection, _ = agent.accept()
    with connection, connection.makefile("rwb") as file:
        question = json.loads(file.readline())
        file.write(json.dumps({"question": question}).encode() + b"\n")


def test_a_full_backlog_is_a_wait(agent: socket.socket) -> None:
    callers = fill(agent)
    busy = threading.Timer(0.2, answer, (agent, len(callers)))
    busy.start()
    assert ask.ask({"op": "x"}, LONG_S) == {"question": {"op": "x"}}
    busy.join()
    for caller in callers:
        caller.close()


def slug_of(deadline_s: float) -> str:
    with pytest.raises(ask.NoAnswer) as raised:
        ask.ask({"op": "x"}, deadline_s)
    return raised.value.slug


def test_a_backlog_that_stays_full_is_a_timeout(agent: socket.socket) -> None:
    callers = fill(agent)
    assert slug_of(SHORT_S) == "agent-timeout"
    for caller in callers:
        caller.close()


def test_an_agent_that_says_nothing_is_a_timeout(agent: socket.socket) -> None:
    assert slug_of(SHORT_S) == "agent-timeout"


def test_connecting_sending_and_reading_share_one_deadline(
    agent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that has moved on after the connect leaves nothing for what follows."""
    times = iter((0.0, 2.0, 2.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    assert slug_of(1.0) == "agent-timeout"


class Clock:
    """Is paused, except for what a test adds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def test_an_answer_that_came_in_time_counts_however_late_it_is_read(
    agent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy node, what `create` does meanwhile can take longer than the agent may."""
    clock = Clock(monkeypatch)
    answering = threading.Thread(target=answer, args=(agent, 0))
    answering.start()

    def meanwhile() -> None:
        answering.join()
        clock.now += 2 * LONG_S

    assert ask.ask({"op": "x"}, LONG_S, meanwhile) == {"question": {"op": "x"}}


def test_half_an_answer_is_waited_for_no_longer_than_the_deadline(
    agent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    accepted: list[socket.socket] = []

    def meanwhile() -> None:
        accepted.append(agent.accept()[0])
        accepted[0].sendall(b'{"verdict": ')
        clock.now += 2 * LONG_S

    with pytest.raises(ask.NoAnswer) as raised:
        ask.ask({"op": "x"}, LONG_S, meanwhile)
    assert raised.value.slug == "agent-timeout"
    accepted[0].close()


def test_no_agent_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))
    assert slug_of(LONG_S) == "no-agent"
    Path(paths.agent_socket()).touch()
    assert slug_of(LONG_S) == "no-agent"
