"""hack/demo's command line: wrong input gets one line that says what to do and status 2, and installs nothing."""

import os
import subprocess

import pytest

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """hack/demo with these arguments, which it refuses before it does anything."""
    return subprocess.run(
        [f"{REPOSITORY}/hack/demo", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--jsn"], "--jsn"),
        (["file"], "file"),
        (["--json"], "needs a file"),
        (["--json", "/"], "/ is not a file in an existing directory"),
        (["--json", "/nonexistent/figures.json"], "/nonexistent/figures.json"),
        (["--keep", "--frob"], "--frob"),
    ],
)
def test_wrong_input_is_refused_in_one_line(arguments: list[str], said: str) -> None:
    ended = demo(*arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("demo: ")
    assert ended.stderr.count("\n") == 1
    assert said in ended.stderr


def test_help_says_every_option_and_is_no_program_text() -> None:
    ended = demo("--help")
    assert ended.returncode == 0
    for option in ("--json FILE", "--auto", "--keep"):
        assert option in ended.stdout
    assert "set -" not in ended.stdout
    assert "#" not in ended.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which takes root")
def test_another_user_has_to_be_root() -> None:
    ended = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", f"{REPOSITORY}/hack/demo"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "root" in ended.stderr
