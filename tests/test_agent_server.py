"""The agent's socket: a line of JSON each way, for root alone, whatever comes in."""

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug import paths
from glowplug.agent.serving.server import Server
from glowplug.errors import CacheError, UsageError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the socket answers root only")


def fail(_question: object) -> dict[str, object]:
    raise CacheError("no space")


def break_down(_question: object) -> dict[str, object]:
    raise ValueError("not thought of")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    made = Server({"echo": lambda question: {"said": question.get("say")}, "fail": fail})
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def ask(line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(paths.agent_socket())
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while more := connection.recv(65536):
            received += more
        return received


def test_a_question_is_answered(server: Server) -> None:
    assert ask(b'{"op": "echo", "say": "x"}\n') == b'{"said": "x"}\n'


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{\n",
        b"[]\n",
        b'"echo"\n',
        b'{"op": "none"}\n',
        b'{"op": ["echo"]}\n',
        b"\xff\xfe\n",
        b"[" * 90000 + b"\n",
    ],
)
def test_garbage_gets_one_clear_answer(server: Server, line: bytes) -> None:
    assert json.loads(ask(line))["error"] == "expected a JSON object whose op is one of: echo, fail"


def test_a_question_without_an_end_gets_none(server: Server) -> None:
    assert ask(b'{"op": "echo"}') == b""


def test_a_failure_is_an_answer(server: Server) -> None:
    assert json.loads(ask(b'{"op": "fail"}\n')) == {"error": "no space"}


def test_only_root_reaches_it(server: Server) -> None:
    for path in (paths.RUN_DIR, paths.agent_socket()):
        found = os.stat(path)
        assert (found.st_uid, stat.S_IMODE(found.st_mode) & 0o077) == (0, 0)


def test_a_second_agent_is_refused_and_the_first_continues(server: Server) -> None:
    with pytest.raises(UsageError, match="another agent listens there"):
        Server({})
    assert ask(b'{"op": "echo", "say": 1}\n') == b'{"said": 1}\n'


def test_the_socket_of_a_dead_agent_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(paths.agent_socket())
    Server({}).server_close()
    assert not os.path.exists(paths.agent_socket())


def test_who_has_stopped_waiting_is_no_event(
    server: Server, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """As a runtime does after a second, and in a burst many do: each would be a traceback in the log."""
    arrived = threading.Event()
    gone = threading.Event()

    def late(_question: object) -> dict[str, object]:
        arrived.set()
        gone.wait(60)
        return {"said": "x" * 1_000_000}

    server.answers = {"late": late}
    others = set(threading.enumerate())
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(paths.agent_socket())
        connection.sendall(b'{"op": "late"}\n')
        assert arrived.wait(60)
    answering = set(threading.enumerate()) - others
    gone.set()
    for thread in answering:
        thread.join(60)
    assert answering and not any(thread.is_alive() for thread in answering)
    assert capfd.readouterr().err == ""
    assert caplog.records == []


def test_an_answer_that_breaks_is_logged_and_costs_no_other(
    server: Server, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = {**server.answers, "break": break_down}
    assert ask(b'{"op": "break"}\n') == b""
    assert ask(b'{"op": "echo", "say": 1}\n') == b'{"said": 1}\n'
    assert [one.message for one in caplog.records] == ["a question can't be answered"]
    assert "not thought of" in caplog.text
    assert capfd.readouterr().err == ""
