"""A signal ends the demo wherever it is, and never its clean-up; programs that it runs end with it."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
from hack.demolib import child
from integration.waiting import wait_until

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def started(body: str) -> subprocess.Popen[str]:
    """A program with Interruptions in place."""
    head = "from hack.demolib.interrupt import *\nimport time\ni = Interruptions()\n"
    command = [sys.executable, "-u", "-c", head + textwrap.dedent(body)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def run_and_signal(body: str, *signals: signal.Signals) -> tuple[int, str]:
    """Run this program; send the signals, each after another `ready` line. Its status and what it wrote."""
    program = started(body)
    assert program.stdout
    lines: list[str] = []
    for number in signals:
        while (line := program.stdout.readline()) != "ready\n":
            assert line, "".join(lines)
            lines.append(line)
        program.send_signal(number)
    rest, _ = program.communicate(timeout=60)
    return program.returncode, "".join(lines) + rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_work_is_interrupted(number: signal.Signals) -> None:
    body = """
        try:
            with i.allowed():
                print("ready")
                time.sleep(30)
        except Interrupted as interrupted:
            print("ended by", interrupted)
    """
    assert run_and_signal(body, number) == (0, f"ended by {number.name}\n")


def test_a_clean_up_is_not_interrupted_by_a_second_signal() -> None:
    body = """
        try:
            with i.allowed():
                print("ready")
                time.sleep(30)
        except Interrupted as interrupted:
            print("ready")
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                time.sleep(0.01)
            print("clean")
    """
    assert run_and_signal(body, signal.SIGINT, signal.SIGTERM) == (0, "clean\n")


def test_a_signal_between_two_pieces_of_work_is_not_lost() -> None:
    body = """
        print("ready")
        while i.pending is None:
            time.sleep(0.01)
        try:
            with i.allowed():
                print("worked")
        except Interrupted:
            print("ended")
    """
    assert run_and_signal(body, signal.SIGTERM) == (0, "ended\n")


def test_programs_started_meanwhile_can_be_interrupted_themselves() -> None:
    body = """
        import subprocess
        status = subprocess.run(["sh", "-c", "kill -TERM $$; kill -INT $$; exit 0"]).returncode
        print(status)
    """
    assert run_and_signal(body) == (0, "-15\n")


def test_an_interrupted_wait_ends_the_program_that_was_waited_for(tmp_path: object) -> None:
    note = f"{tmp_path}/pid"
    body = f"""
        from hack.demolib import child
        try:
            with i.allowed():
                print("ready")
                child.output(["sh", "-c", "trap 'rm {note}; exit' TERM; echo $$ >{note}; while :; do sleep 0.05; done"])
        except Interrupted:
            print("ended")
    """
    program = started(body)
    wait_until(lambda: os.path.exists(note) and os.path.getsize(note) > 0, 20, "the program's note")
    program.send_signal(signal.SIGTERM)
    written, _ = program.communicate(timeout=60)
    assert written == "ready\nended\n"
    assert not os.path.exists(note)


def test_a_signal_while_a_program_is_being_started_ends_that_program_too(tmp_path: object) -> None:
    """It runs already, and its starter has not noticed yet."""
    note = f"{tmp_path}/pid"
    body = f"""
        import os, signal, subprocess
        from hack.demolib import child

        class Late(subprocess.Popen):
            def __init__(self, *words, **options):
                super().__init__(*words, **options)
                while not os.path.exists({note!r}):
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGTERM)

        child.subprocess.Popen = Late
        try:
            with i.allowed():
                child.output(["sh", "-c", "trap 'rm {note}; exit' TERM; echo $$ >{note}; while :; do sleep 0.05; done"])
        except Interrupted:
            print("ended")
    """
    try:
        assert run_and_signal(body) == (0, "ended\n")
        assert not os.path.exists(note)
    finally:
        if os.path.exists(note):
            with open(note) as file:
                os.kill(int(file.read()), signal.SIGKILL)


def test_a_program_that_fails_is_reported_with_its_last_line() -> None:
    with pytest.raises(child.Failed, match=r"sh ended with status 3: too bad"):
        child.output(["sh", "-c", "echo first >&2; echo too bad >&2; exit 3"])


def test_output_is_what_the_program_wrote() -> None:
    assert child.output(["sh", "-c", "echo yes; echo no >&2"]) == "yes\n"
