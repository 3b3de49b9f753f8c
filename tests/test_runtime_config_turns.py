"""Installers of several nodes, one after the other: the image's program `turn`, against an API of leases."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.test_runtime_config_image import IMAGE


class Leases:
    """One Lease of the API, with its rule: who writes has seen the latest version."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] = {}
        self.refuses = 0

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its URL."""
        leases = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                self._answer(200 if leases.lease else 404)

            def do_POST(self) -> None:
                self._write(not leases.lease, 201)

            def do_PUT(self) -> None:
                self._write(True, 200)

            def _write(self, can: bool, status: int) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                version = leases.lease.get("metadata", {}).get("resourceVersion")
                can = can and sent["metadata"].get("resourceVersion") == version
                if can:
                    sent["metadata"]["resourceVersion"] = str(int(version or 0) + 1)
                    leases.lease = sent
                self._answer(status if can else 409)

            def _answer(self, status: int) -> None:
                status = leases.refuses or status
                body = json.dumps(leases.lease).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()


def test_installers_take_turns(tmp_path: os.PathLike[str]) -> None:
    """Against an API of leases: the second one waits until the first has returned it."""
    account = f"{tmp_path}/account"
    os.makedirs(account)
    for name, text in (("token", "t"), ("namespace", "glowplug-system"), ("ca.crt", "")):
        with open(f"{account}/{name}", "w") as file:
            file.write(text)
    leases = Leases()
    with leases.serving() as url:

        def turn(verb: str, node: str) -> "subprocess.Popen[str]":
            env = {"ACCOUNT": account, "API_SERVER": url, "NODE_NAME": node, "LOOKS_EVERY_S": "0.05"}
            env["PATH"] = os.environ["PATH"]
            return subprocess.Popen([f"{IMAGE}/turn", verb], env=env, stdout=subprocess.PIPE, text=True)

        with turn("take", "n1") as first:
            assert first.wait(60) == 0
        with turn("take", "n2") as second:
            assert second.stdout is not None and "waits for its turn" in second.stdout.readline()
            with turn("give", "n2") as wrong:  # it holds nothing
                assert wrong.wait(60) == 0
            assert second.poll() is None
            with turn("give", "n1") as giving:
                assert giving.wait(60) == 0
            assert second.wait(60) == 0
    assert leases.lease["spec"]["holderIdentity"] == "n2"


@pytest.mark.parametrize(("status", "says"), [(403, "403, is the Role"), (0, "can't be reached")])
def test_who_may_not_take_a_turn_says_why(tmp_path: Path, status: int, says: str) -> None:
    """Nodes one after the other need the Lease; once the rights are there, it goes on."""
    for name, text in (("token", "t"), ("namespace", "glowplug-system"), ("ca.crt", "")):
        (tmp_path / name).write_text(text)
    leases = Leases()
    leases.refuses = status
    with leases.serving() as url:
        server = url if status else "http://127.0.0.1:1"
        env = {"ACCOUNT": str(tmp_path), "API_SERVER": server, "NODE_NAME": "n1", "LOOKS_EVERY_S": "0.05"}
        env["PATH"] = os.environ["PATH"]
        command = [f"{IMAGE}/turn", "take"]
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as taking:
            assert taking.stdout is not None
            try:
                line = taking.stdout.readline()
                assert "glowplug-installer" in line and says in line
                leases.refuses = 0
                assert not status or taking.wait(60) == 0
            finally:
                taking.kill()
