"""hack/demo as a person runs it: the second start is the first one's process, and nothing is left afterwards."""

import json
import os
import signal
import subprocess
import sys

import pytest

from integration.images import REPOSITORY
from integration.node_names import Names, all_names
from integration.sweep import leftovers
from integration.waiting import wait_until

DEMO = f"{REPOSITORY}/hack/demo"
# onnxruntime's wheels that send no usage data end here.
LAST_PYTHON = (3, 13)
ENDS_WITHIN_S = 600.0

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(sys.version_info[:2] > LAST_PYTHON, reason="the model has no wheels for this Python"),
]


def started(*arguments: str) -> "subprocess.Popen[str]":
    """The demo, its output a pipe."""
    return subprocess.Popen(
        [DEMO, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def node_of(demo: "subprocess.Popen[str]") -> Names | None:
    """The names of the node that this demo runs, once it has one."""
    for names in all_names():
        try:
            with open(names.owner) as file:
                if file.read().split()[:1] == [str(demo.pid)]:
                    return names
        except OSError:
            continue
    return None


def assert_nothing_left(names: Names) -> None:
    """Of a node's processes, mounts, cgroups, sockets, interface and files."""
    assert not leftovers(names)
    assert not os.path.exists(names.state)
    assert not os.path.exists(f"/sys/class/net/{names.bridge}")


@pytest.mark.parametrize(("arguments", "captured_by"), [((), "command"), (("--auto",), "agent")])
def test_the_second_start_is_the_first_ones_process(
    arguments: tuple[str, ...], captured_by: str, tmp_path: object
) -> None:
    figures = f"{tmp_path}/figures.json"
    demo = started("--json", figures, *arguments)
    try:
        names = wait_until(lambda: node_of(demo), ENDS_WITHIN_S, "the demo's node")
        written, complaint = demo.communicate(timeout=ENDS_WITHIN_S)
    finally:
        demo.terminate()
    assert demo.returncode == 0, complaint
    with open(figures) as file:
        found = json.load(file)
    assert (found["outcome"], found["same_answer"], found["same_token"]) == ("restored", True, True)
    assert found["captured_by"] == captured_by
    assert found["checkpoint_bytes"] > 10_000_000
    assert found["speedup"] == pytest.approx(found["cold_s"] / found["restore_s"], rel=0.01)
    assert sum(found["phases"].values()) == pytest.approx(found["restore_s"], abs=0.01)
    assert {"resolve", "criu"} <= found["phases"].keys()
    assert f"{found['cold_s']:.2f} s" in written
    assert "\x1b" not in written
    assert names
    assert_nothing_left(names)


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("node", signal.SIGTERM),
        ("image", signal.SIGINT),
        ("cold start", signal.SIGTERM),
        ("removal", signal.SIGINT),
    ],
)
def test_an_interrupted_demo_leaves_nothing(line: str, number: signal.Signals) -> None:
    """Wherever it is: while the image is imported, in a cold start, a capture, a restore."""
    demo = started()
    assert demo.stdout
    try:
        while not (said := demo.stdout.readline()).startswith(line):
            assert said, f"the demo ended before it said {line!r}: {demo.communicate()[1]}"
        names = node_of(demo)
        demo.send_signal(number)
        _, complaint = demo.communicate(timeout=ENDS_WITHIN_S)
    finally:
        demo.terminate()
    assert demo.returncode == 128 + number
    assert complaint == f"demo: interrupted by {number.name}, everything removed\n"
    assert names
    assert_nothing_left(names)
