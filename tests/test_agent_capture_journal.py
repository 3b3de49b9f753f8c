"""The journal of a capture: who holds it works, who left it is found."""

import fcntl
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from glowplug import paths
from glowplug.agent.captures import journal as journals
from glowplug.agent.captures.running import Running
from glowplug.capture.policy import Hook

FACTS = journals.Facts(Running("one", 4711, "", ""), "/r", gpu=False, hook_timeout_s=1.5)


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))


def test_one_at_a_time_and_nothing_is_left_of_it() -> None:
    journal = journals.begin("one", FACTS)
    with pytest.raises(BlockingIOError):
        journals.begin("one", FACTS)
    assert journals.abandoned() == []
    journal.finish()
    assert os.listdir(paths.capturing()) == []


def test_what_a_killed_process_left_is_found_with_its_last_step() -> None:
    program = (
        "import sys, time\n"
        "from glowplug import paths\n"
        "from glowplug.agent.captures import journal as journals\n"
        "from glowplug.agent.captures.running import Running\n"
        "from glowplug.capture.policy import Hook\n"
        "paths.RUN_DIR = sys.argv[1]\n"
        "facts = journals.Facts(Running('one', 4711, '', ''), '/r', False, 1.5)\n"
        "journals.begin('one', facts).step_with_hook('freeze', Hook('exec', command=('wake', 'up')))\n"
        "print(flush=True); time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, paths.RUN_DIR], stdout=subprocess.PIPE)
    with child:
        assert child.stdout
        child.stdout.readline()
        assert journals.abandoned() == []
        child.send_signal(signal.SIGKILL)
        child.wait()
    (left,) = journals.abandoned()
    hook = Hook("exec", command=("wake", "up"))
    assert (left.container, left.facts) == ("one", replace(FACTS, step="freeze", after=hook))
    left.leave()
    (again,) = journals.abandoned()
    again.finish()
    assert journals.abandoned() == []


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_one_that_is_no_journal_is_foreign(content: str) -> None:
    os.makedirs(paths.capturing_one("one"))
    (Path(paths.capturing_one("one")) / "journal.json").write_text(content)
    assert journals.abandoned() == []
    assert os.listdir(paths.capturing()) == []


def test_its_step_is_there_for_others_to_see() -> None:
    journal = journals.begin("one", FACTS)
    for step in (*journals.HOOKS, *journals.LOOKING[1:], "slot", "freeze"):
        journal.step(step)
        assert journals.step_of("one") == step
    journal.finish()
    assert journals.step_of("one") == ""


def test_who_looks_as_one_ends_and_the_next_begins_takes_nothing_of_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its lock was opened before that end, and got after it."""
    before, locked = journals.begin("one", FACTS), journals._locked
    begun: list[journals.Journal] = []

    def late(directory: str) -> int:
        monkeypatch.setattr(journals, "_locked", locked)
        lock = os.open(f"{directory}/{journals.LOCK}", os.O_RDWR | os.O_CLOEXEC)
        before.finish()
        begun.append(journals.begin("one", FACTS))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock

    monkeypatch.setattr(journals, "_locked", late)
    assert journals.abandoned() == []
    assert journals.step_of("one") == "begin"
    begun[0].step("freeze")
    begun[0].finish()


def test_one_begins_while_the_one_before_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks of os.makedirs, which takes it for a file then."""
    makedirs = os.makedirs

    def gone_meanwhile(*_: object, **__: object) -> None:
        monkeypatch.setattr(os, "makedirs", makedirs)
        raise FileExistsError

    monkeypatch.setattr(os, "makedirs", gone_meanwhile)
    journals.begin("one", FACTS).finish()


def test_the_lock_is_removed_last(monkeypatch: pytest.MonkeyPatch) -> None:
    journal, unlink = journals.begin("one", FACTS), os.unlink
    removed: list[str] = []

    def noted(path: str) -> None:
        removed.append(os.path.basename(path))
        unlink(path)

    monkeypatch.setattr(os, "unlink", noted)
    journal.finish()
    assert removed == [journals.JOURNAL, journals.LOCK]
