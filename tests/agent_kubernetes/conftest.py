"""Fixtures of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import api_server
from tests.agent_kubernetes.made import Reported
from tests.api_server import ApiServer

from glowplug import paths


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server.serving() as found:
        yield found


@pytest.fixture
def reported(server: ApiServer, tmp_path: Path) -> Iterator[Reported]:
    made = Reported(server, tmp_path, [])
    made.cluster.start()
    yield made
    made.cluster.stop()
