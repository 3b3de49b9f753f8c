"""The registry's commands without a registry: what is missing is one line."""

from pathlib import Path

import pytest
from tests import cli_made
from tests.cli_made import Node

ID = "0" * 32


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Node:
    return cli_made.Node(str(tmp_path), monkeypatch, capsys)


@pytest.mark.parametrize(
    "typed",
    [
        ("pull", "-n", "models", ID),
        ("warm", "-n", "models"),
        ("copy", "-n", "models", "--to", "host/x", ID),
        ("registry", "ls", "-n", "models"),
        ("registry", "rm", "-n", "models", ID),
        ("registry", "gc", "-n", "models"),
    ],
)
def test_without_a_registry_it_is_reported(node: Node, typed: tuple[str, ...]) -> None:
    done = node.run(*typed)
    assert (done.status, done.out) == (2, "")
    assert "registry.repository is not set: see docs/registry.md" in done.err


def test_a_push_without_a_registry_or_keys_is_one_line(node: Node) -> None:
    checkpoint = node.published()
    assert "registry.repository is not set" in node.run("push", checkpoint).err
    assert "--label: expected NAME=VALUE, got 'x'" in node.run("push", "--label", "x", checkpoint).err
    node.configure({"registry.repository": "127.0.0.1:1/x"})
    done = node.run("push", checkpoint)
    assert (done.status, done.out) == (2, "") and "registry.sign_key is not set" in done.err


def test_a_namespace_that_is_invalid_never_becomes_a_path(node: Node) -> None:
    node.configure({"registry.repository": "127.0.0.1:1/x"})
    done = node.run("registry", "ls", "-n", "../other")
    assert done.status == 2 and "is not a Kubernetes namespace" in done.err


def test_a_repository_with_a_scheme_is_refused(node: Node) -> None:
    node.configure({"registry.repository": "127.0.0.1:1/x"})
    done = node.run("copy", "-n", "models", "--to", "https://host/x", ID)
    assert done.status == 2 and "--to: expected HOST[:PORT]/PATH in lower case" in done.err
