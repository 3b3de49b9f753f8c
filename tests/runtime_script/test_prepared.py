"""Cold starts that were prepared, starts and signals of restored containers, attempts that are there."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.runtime_script.made import SHIM, Called, eligible_bundle, outcomes

from glowplug.runtime import argv


def prepared(directory: Path) -> list[str]:
    """An agent's decision, ahead of the create whose arguments these are: a cold start with an edited spec."""
    arguments = eligible_bundle(directory)
    ready = directory / "run/prepared/c1"
    ready.mkdir(parents=True)
    (directory / "run/outcomes").mkdir()
    texts = {"spec": (directory / "bundle/config.json").read_text(), "edited": "edited", "outcome": "{}"}
    for name, text in texts.items():
        (ready / f"{name}.json").write_text(text)
    return arguments


NO_PYTHON = {"GLOWPLUG_PYTHON": "/nowhere/python3", "PATH": os.environ["PATH"]}


def test_a_prepared_cold_start_needs_no_python(tmp_path: Path) -> None:
    arguments = prepared(tmp_path)
    called = Called(tmp_path, arguments, NO_PYTHON)
    assert (called.seen["argv"], called.seen["env"]) == (arguments, called.env)
    assert (called.seen["pid"], called.status) == (called.pid, 43)
    assert (called.out, called.err) == (b"said by runc", b"")
    assert (tmp_path / "bundle/config.json").read_text() == "edited"
    assert [file.name for file in (tmp_path / "run/outcomes").iterdir()] == ["c1.prepared"]


def test_a_prepared_start_of_a_sandbox_has_no_outcome(tmp_path: Path) -> None:
    arguments = prepared(tmp_path)
    for name in ("edited", "outcome"):
        (tmp_path / f"run/prepared/c1/{name}.json").unlink()
    called = Called(tmp_path, arguments, {"PATH": os.environ["PATH"]})
    assert called.seen["argv"] == arguments
    assert list((tmp_path / "run/outcomes").iterdir()) == []


def spec_differs(run: Path) -> None:
    (run / "prepared/c1/spec.json").write_text("{}")


def was_used(run: Path) -> None:
    (run / "outcomes/c1.prepared").write_text("")


def restore_is_under_way(run: Path) -> None:
    (run / "restores/c2").mkdir(parents=True)


def checkpoint_came(run: Path) -> None:
    os.utime(run / "prepared/c1", (0, 0))
    (run / "published").write_text("")


def edit_fails(run: Path) -> None:
    (run / "prepared/c1/edited.json").unlink()
    (run / "prepared/c1/edited.json").mkdir()


@pytest.mark.parametrize(
    "change", [spec_differs, was_used, restore_is_under_way, checkpoint_came, edit_fails]
)
def test_what_was_prepared_and_holds_no_longer_is_queried_again(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    arguments = prepared(tmp_path)
    change(tmp_path / "run")
    called = Called(tmp_path, arguments, {"PATH": os.environ["PATH"]})
    assert (called.seen["argv"], called.err) == (arguments, b"")
    assert outcomes(tmp_path) == ["cold:no-agent"]
    assert (tmp_path / "run/outcomes/c1.prepared").exists() == (change is was_used)


def test_start_of_a_restored_container_is_done_already(tmp_path: Path) -> None:
    marker = tmp_path / "root/c1/glowplug"
    marker.parent.mkdir(parents=True)
    marker.write_text("")
    done = subprocess.run(
        [SHIM / "glowplug-runtime", "--root", tmp_path / "root", "start", "c1"],
        env={"GLOWPLUG_RUNC": "/bin/false", "PATH": os.environ["PATH"]},
        timeout=60,
    )
    assert done.returncode == 0


@pytest.mark.parametrize("restored", [True, False])
@pytest.mark.parametrize(
    "arguments",
    [
        ["kill", "c1", "15"],
        ["kill", "--all", "c1", "9"],
        ["kill", "c1"],
        ["kill", "-a", "c1"],
        ["kill", "c1", "KILL"],
    ],
    ids=" ".join,
)
def test_a_signal_to_a_restored_container_is_noted_and_sent(
    tmp_path: Path, arguments: list[str], restored: bool
) -> None:
    """The note says `delete` that the end was requested; runc gets the signal in any case."""
    state = tmp_path / "root/c1"
    state.mkdir(parents=True)
    if restored:
        (state / "glowplug").write_text("")
    done = subprocess.run(
        [SHIM / "glowplug-runtime", "--root", tmp_path / "root", *arguments],
        env={"GLOWPLUG_RUNC": "/bin/echo", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == f"--root {tmp_path}/root {' '.join(arguments)}\n"
    assert (state / "glowplug.stopped").exists() is restored


def test_a_note_that_can_t_be_written_keeps_no_signal_from_runc(tmp_path: Path) -> None:
    (tmp_path / "root/c1/glowplug.stopped").mkdir(parents=True)
    (tmp_path / "root/c1/glowplug").write_text("")
    done = subprocess.run(
        [SHIM / "glowplug-runtime", "--root", tmp_path / "root", "kill", "c1", "15"],
        env={"GLOWPLUG_RUNC": "/bin/echo", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (f"--root {tmp_path}/root kill c1 15\n", "")


TAKES_BACK = """#!/bin/sh
# In Python's place: how it ends as `create`, then what its --take-back does.
case "$*" in
    *--take-back*) echo take-back >>{here}/calls; {take_back} ;;
    *) echo create >>{here}/calls; {create} ;;
esac
"""
ATTEMPT = "mkdir -p {here}/run/restores/c1"
GONE = "rmdir {here}/run/restores/c1"


@pytest.mark.parametrize(
    ("create", "take_back", "status", "calls"),
    [
        (f"{ATTEMPT}; exit 92", f"{GONE}; exit 92", 43, 2),
        (f"{ATTEMPT}; exit 1", f"{GONE}; exit 1", 43, 2),
        (f"{ATTEMPT}; kill -9 $$", f"{GONE}; kill -9 $$", 43, 2),
        (f"{ATTEMPT}; kill -24 $$", f"{GONE}; exit 92", 43, 2),
        (f"{ATTEMPT}; kill -9 $$", "exit 90", 0, 2),
        (f"{ATTEMPT}; kill -9 $$", "exit 91", 1, 2),
        (f"{ATTEMPT}; exit 92", "exit 92", 1, 4),
        (f"{ATTEMPT}; exit 92", "kill -9 $$", 1, 4),
        ("kill -9 $$", "exit 92", 43, 2),
        ("kill -9 $$", "exit 90", 0, 2),
        ("exit 92", "exit 91", 43, 1),
        ("exit 90", "exit 91", 0, 1),
    ],
)
def test_runc_creates_nothing_while_an_attempt_is_there(
    tmp_path: Path, create: str, take_back: str, status: int, calls: int
) -> None:
    """However the runtime ended, and whatever its statuses say."""
    arguments = eligible_bundle(tmp_path)
    python = tmp_path / "python"
    texts = {"create": create.format(here=tmp_path), "take_back": take_back.format(here=tmp_path)}
    python.write_text(TAKES_BACK.format(here=tmp_path, **texts))
    python.chmod(0o755)
    (tmp_path / "run").mkdir()
    (tmp_path / "record.json").write_text("{}")
    called = Called(tmp_path, arguments, {"PATH": os.environ["PATH"], "GLOWPLUG_PYTHON": str(python)})
    assert (called.status, called.err) == (status, b"")
    assert (tmp_path / "calls").read_text().split() == ["create", *["take-back"] * (calls - 1)]
    assert bool(called.seen) is (status == 43)
    log = tmp_path / "bundle/log.json"
    if calls == 4:
        assert "can't be taken back" in json.loads(log.read_text())["msg"]


def test_an_attempt_and_no_python_is_no_runc(tmp_path: Path) -> None:
    arguments = eligible_bundle(tmp_path)
    (tmp_path / "run/restores/c1").mkdir(parents=True)
    (tmp_path / "record.json").write_text("{}")
    called = Called(tmp_path, arguments, NO_PYTHON)
    assert (called.status, called.err, called.seen) == (1, b"", {})


@pytest.mark.parametrize(
    ("verb", "option"),
    [(verb, option) for verb in ("create", "checkpoint") for option in argv.VERB_VALUES[verb]],
)
def test_the_value_of_an_option_is_not_the_id(tmp_path: Path, verb: str, option: str) -> None:
    """A path there is no id, and what has none goes to runc: Python would never see the verb."""
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\nexit 90\n")
    python.chmod(0o755)
    (tmp_path / "record.json").write_text("{}")
    arguments = [
        "--root",
        "/r",
        verb,
        f"-{option}" if len(option) == 1 else f"--{option}",
        "/a/path",
        "an-id",
    ]
    called = Called(tmp_path, arguments, {"PATH": os.environ["PATH"], "GLOWPLUG_PYTHON": str(python)})
    assert (called.status, called.seen) == (0, {})
