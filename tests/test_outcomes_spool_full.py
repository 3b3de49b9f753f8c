"""Without an agent nobody empties the spool: it stays small, and the newest records stay."""

import json
import os
from pathlib import Path

import pytest

from glowplug import paths
from glowplug.outcomes import spool

MOST = 50


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(spool, "MOST", MOST)
    monkeypatch.setattr(spool, "_ENTRY_BYTES", 0)  # the size of a directory says nothing but on tmpfs


def numbers() -> list[int]:
    found = [json.loads(file.read_text())["n"] for file in Path(paths.spool()).glob("*.json")]
    return sorted(found)


def test_the_oldest_records_go() -> None:
    for number in range(3 * MOST):
        assert spool.append({"n": number})
        assert numbers()[-1] == number
        assert len(numbers()) <= MOST
    kept = numbers()
    assert kept == list(range(kept[0], 3 * MOST))
    assert len(kept) >= MOST - MOST // 10


def test_what_is_no_record_stays() -> None:
    spool.append({"n": 0})
    Path(paths.spool(), "c1.prepared").touch()
    for number in range(2 * MOST):
        spool.append({"n": number})
    assert "c1.prepared" in os.listdir(paths.spool())
