"""What the agent has loaded or read once, and others may replace: it restarts then."""

from pathlib import Path

import pytest

from glowplug.agent import restart


def test_another_driver_or_criu_is_another_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, criu = tmp_path / "version", tmp_path / "criu"
    monkeypatch.setattr(restart, "DRIVER", str(driver))
    found = [restart.fingerprint(str(criu))]
    driver.write_text("580.65.06\n")
    found.append(restart.fingerprint(str(criu)))
    driver.write_text("580.82.07\n")
    found.append(restart.fingerprint(str(criu)))
    criu.write_text("a program")
    found.append(restart.fingerprint(str(criu)))
    assert len(set(found)) == 4
    assert restart.fingerprint(str(criu)) == found[-1]
