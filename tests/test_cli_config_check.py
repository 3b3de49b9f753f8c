"""`glowplug config check` reports every wrong key at once, and of a good file that it is good."""

import json
from pathlib import Path

import pytest

from glowplug.cli import main


def check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["glowplug", "config", "check", *arguments])
    status = 0
    try:
        main.main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_each_wrong_key_has_a_line(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text('criuu = "/x"\ncache = "relative"\nkeep_per_workload = 3\nrestore_deadline_s = "60"\n')
    status, out, err = check(monkeypatch, capsys, str(file))
    assert (status, err) == (2, "")
    assert [line.split(": ")[1] for line in out.splitlines()] == ["criuu", "cache", "restore_deadline_s"]
    status, out, _ = check(monkeypatch, capsys, "--json", str(file))
    assert (status, len(json.loads(out)["problems"])) == (2, 3)


def test_a_good_file_is_good(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text('metrics_listen = "127.0.0.1:9464"\n')
    assert check(monkeypatch, capsys, str(file)) == (0, f"{file}: good; 1 keys are set\n", "")
    file.write_text("")
    assert check(monkeypatch, capsys, str(file))[0] == 0


@pytest.mark.parametrize("text", [b"criu = ", b"\xff\xfe", b"[" * 5000, b"a" * 100 + b"\0"])
def test_what_is_no_toml_is_one_line(
    file: Path, text: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(text)
    status, out, err = check(monkeypatch, capsys, str(file))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "expected TOML" in err


def test_a_file_that_is_not_there_is_one_line(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = check(monkeypatch, capsys, str(file))
    assert (status, out) == (2, "")
    assert "there is no configuration" in err
