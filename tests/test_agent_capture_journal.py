"""The journal of a capture: who holds it works, who left it is found."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from glowplug import paths
from glowplug.agent.captures import journal as journals


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))


def test_one_at_a_time_and_nothing_is_left_of_it() -> None:
    journal = journals.begin("one", {"gpu": False})
    with pytest.raises(BlockingIOError):
        journals.begin("one", {})
    assert journals.abandoned() == []
    journal.finish()
    assert os.listdir(paths.capturing()) == []


def test_what_a_killed_process_left_is_found_with_its_last_step() -> None:
    program = (
        "import sys, time\n"
        "from glowplug import paths\n"
        "from glowplug.agent.captures import journal as journals\n"
        "paths.RUN_DIR = sys.argv[1]\n"
        "journals.begin('one', {'root': '/r'}).step('freeze', after='x')\n"
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
    assert (left.container, left.facts) == ("one", {"root": "/r", "step": "freeze", "after": "x"})
    left.leave()
    (again,) = journals.abandoned()
    again.finish()
    assert journals.abandoned() == []


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_one_that_is_no_journal_is_nobodys(content: str) -> None:
    os.makedirs(paths.capturing_one("one"))
    (Path(paths.capturing_one("one")) / "journal.json").write_text(content)
    assert journals.abandoned() == []
    assert os.listdir(paths.capturing()) == []


def test_its_step_is_there_for_others_to_see() -> None:
    journal = journals.begin("one", {})
    for step in (*journals.HOOKS, *journals.LOOKING[1:], "slot", "freeze"):
        journal.step(step)
        assert journals.step_of("one") == step
    journal.finish()
    assert journals.step_of("one") == ""
