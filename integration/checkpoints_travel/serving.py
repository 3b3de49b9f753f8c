"""Nodes that serve what they have to others: a certificate for each, and the process that serves."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from glowplug.config import Config
from glowplug.registry.settings import RegistrySettings
from integration.certificates import Authority
from integration.checkpoints_travel.nodes import Node
from integration.registry import free_port
from integration.waiting import wait_until


class Nodes:
    """The authority of a fleet's nodes."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.authority = Authority(str(directory), "nodes")

    def serves(self, node: Node, **changes: object) -> str:
        """Has the node serve what it pushes and pulls from now on; its URL."""
        port = free_port()
        node.settings = replace(
            self.with_certificate(node.settings, f"node-{port}"),
            serve=f"127.0.0.1:{port}",
            **{"policy": "both", **changes},  # type: ignore[arg-type]
        )
        return f"https://127.0.0.1:{port}"

    def asks(self, node: Node, *urls: str) -> None:
        """Has the node ask others first."""
        node.settings = replace(self.with_certificate(node.settings, "asks"), peers=urls)

    def with_certificate(self, settings: RegistrySettings, name: str) -> RegistrySettings:
        """With a certificate of its own, which no registry asks for."""
        certificate, key = self.authority.issue(name)
        return replace(settings, peer_ca=self.authority.ca, certificate=certificate, key=key)


@contextmanager
def serving(node: Node) -> Iterator[subprocess.Popen[bytes]]:
    """The process, from its first answer on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "glowplug.registry.serve"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None and process.stderr is not None
    try:
        config = Config(cache=node.store.root, registry=node.settings)
        process.stdin.write(json.dumps(asdict(config)).encode() + b"\n")
        process.stdin.flush()
        host, _, port = node.settings.serve.rpartition(":")
        wait_until(lambda: _accepts(process, host, int(port)), 30, "the node serves")
        yield process
    finally:
        process.stdin.close()
        process.wait(60)
        process.stderr.close()


def _accepts(process: subprocess.Popen[bytes], host: str, port: int) -> bool:
    assert process.stderr is not None
    if process.poll() is not None:
        raise AssertionError(process.stderr.read().decode())
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True
