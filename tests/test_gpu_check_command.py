"""hack/gpu-check as a person calls it: what is wrong with the call is said in a line, before anything is run."""

import subprocess
import sys
from pathlib import Path

import pytest

GPU_CHECK = Path(__file__).parent.parent / "hack/gpu-check"


def called(*arguments: str, python: tuple[str, ...] = (sys.executable,)) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*python, str(GPU_CHECK), *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--only", "a,z"),
            "argument --only: expected some of a,b,c,d,e,f,g,h,i,j,k,l, with commas between, got 'a,z'",
        ),
        (("--only", ""), "argument --only: expected some of"),
        (("--json", "/none/file"), "argument --json: expected a file in a directory that is there"),
    ],
)
def test_a_wrong_argument(arguments: tuple[str, ...], said: str) -> None:
    done = called("--fake", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr.splitlines()[-1]


def test_a_python_without_the_dependencies() -> None:
    done = called("--fake", python=(sys.executable, "-S"))
    assert done.returncode == 2
    assert done.stderr.startswith(
        "gpu-check: expected a Python with Glowplug's own dependencies, got no module "
    )
    assert done.stderr.count("\n") == 1
