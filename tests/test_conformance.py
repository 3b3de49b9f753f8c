"""hack/conformance: what bats says is read right, and `run` becomes create and start with the same options."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

HACK = Path(__file__).parent.parent / "hack"


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(HACK))
    return importlib.import_module("conformancelib")


def test_the_ends_of_tests_are_read(packages: ModuleType) -> None:
    suite = importlib.import_module("conformancelib.suite")
    said = (
        "1..5\n"
        "ok 1 runc kill\n"
        "not ok 2 runc exec --cwd\n"
        "# (in test file exec.bats, line 3)\n"
        "ok 3 update rt # skip test requires cgroups_rt\n"
        "ok 4 a name with # in it\n"
        "ok 5 slow one in 1200ms\n"
    )
    assert suite._ends(said) == {
        "runc kill": "ok",
        "runc exec --cwd": "failed",
        "update rt": "skipped",
        "a name with # in it": "ok",
        "slow one": "ok",
    }


def test_a_command_line_is_parsed(packages: ModuleType) -> None:
    front = importlib.import_module("conformancelib.front")
    command = front.Command(["--root", "/r", "run", "-d", "--pid-file", "/p", "--bundle=/b", "c1"])
    assert (command.globals, command.verb, command.words) == (["--root", "/r"], "run", ["c1"])
    assert command.options == ["-d", "--pid-file", "/p", "--bundle=/b"]
    assert (command.value("--bundle", "-b"), command.value("--pid-file")) == ("/b", "/p")


def test_a_bundle_gets_the_annotations_of_cri(packages: ModuleType, tmp_path: Path) -> None:
    front = importlib.import_module("conformancelib.front")
    (tmp_path / "config.json").write_text('{"annotations": {"a": "1"}, "process": {"terminal": true}}')
    spec = front.annotate(str(tmp_path))
    assert spec["annotations"] == {"a": "1", **front.ANNOTATIONS}
    assert front.annotate(str(tmp_path / "nowhere")) == {}
