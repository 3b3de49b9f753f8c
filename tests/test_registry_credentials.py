"""Who we are for a registry, by a docker config: what a helper says, and which entry is the registry's."""

import json
import os
from pathlib import Path

import pytest

from glowplug.errors import UsageError
from glowplug.registry import credentials
from glowplug.registry.credentials import Credentials

HOST = "registry.example:5000"


def config(folder: Path, **keys: object) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(keys))
    return str(path)


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program docker-credential-vault: says what is in `says`, and keeps its input in `heard`."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    program = tmp_path / "docker-credential-vault"
    program.write_text(f'#!/bin/sh\n[ "$1" = get ] && cat > {tmp_path}/heard && cat {tmp_path}/says\n')
    program.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"Username": "u", "Secret": "s"}, Credentials("u", "s")),
        ({"Username": "<token>", "Secret": "t"}, Credentials(token="t")),
    ],
)
def test_a_helper_is_queried_for_its_host(helper: Path, said: dict[str, str], expected: Credentials) -> None:
    (helper / "says").write_text(json.dumps(said))
    entry = {HOST: {"username": "older", "password": "x"}}
    assert credentials.of(config(helper, credHelpers={HOST: "vault"}, auths=entry), HOST) == expected
    assert (helper / "heard").read_text() == HOST


def test_the_store_is_queried_where_no_entry_is_the_host_s(helper: Path) -> None:
    (helper / "says").write_text(json.dumps({"Username": "u", "Secret": "s"}))
    entry = {f"https://{HOST}/v1/": {"username": "own", "password": "p"}}
    file = config(helper, credsStore="vault", auths=entry)
    assert credentials.of(file, HOST) == Credentials("own", "p")
    assert credentials.of(file, "other.example") == Credentials("u", "s")


def test_a_helper_that_knows_nothing_gives_none(helper: Path) -> None:
    assert credentials.of(config(helper, credsStore="vault"), HOST) == Credentials()


@pytest.mark.parametrize(
    ("name", "said"), [("missing", "gives no credentials"), ("../vault", "is not a docker config")]
)
def test_a_helper_that_can_t_be_run_is_one_clear_line(helper: Path, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        credentials.of(config(helper, credsStore=name), HOST)
