"""The middleware of docs/examples/vllm-loopback.yaml: development routes are for the pod's own loopback."""

import asyncio
from typing import Any

import pytest
from tests.test_docs_examples import read

Message = dict[str, Any]


def middleware(app: Any) -> Any:
    """The class as vLLM finds it by `--middleware`."""
    names: dict[str, Any] = {}
    exec(read("vllm-loopback.yaml")[0]["data"]["loopback.py"], names)
    return names["LoopbackOnly"](app)


def sent(scope: Message) -> list[Message]:
    """What a client gets; the application behind it says 200."""
    messages: list[Message] = []

    async def app(_scope: Message, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        messages.append(message)

    asyncio.run(middleware(app)(scope, receive, send))
    return messages


def status(path: str, host: str | None) -> int:
    client = (host, 4711) if host else None
    return int(sent({"type": "http", "path": path, "client": client})[0]["status"])


@pytest.mark.parametrize(
    "path",
    [
        "/sleep",
        "/wake_up",
        "/is_sleeping",
        "/collective_rpc",
        "/pause",
        "/v1",
        "/healthy",
        "//sleep",
        "/SLEEP",
        "/new",
    ],
)
def test_what_is_not_served_to_all_answers_on_the_loopback_alone(path: str) -> None:
    assert status(path, "127.0.0.1") == status(path, "::1") == 200
    for host in ("10.1.2.3", "127.0.0.6", "fe80::1", None):
        assert status(path, host) == 404


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/models", "/health", "/metrics", "/version"])
def test_what_is_served_answers_everybody(path: str) -> None:
    assert {status(path, host) for host in ("127.0.0.1", "10.1.2.3", None)} == {200}


def test_a_web_socket_is_closed_and_the_start_of_the_server_goes_through() -> None:
    (closed,) = sent({"type": "websocket", "path": "/sleep", "client": ("10.1.2.3", 1)})
    assert closed["type"] == "websocket.close"
    assert sent({"type": "lifespan"})[0]["status"] == 200
