"""`delete` removes what the marker of the container names, and nothing that an argument names."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from glowplug import paths
from glowplug.restore import marker
from glowplug.runtime import argv, delete
from glowplug.runtime.status import RUNC

SCRIPT = Path(__file__).parent.parent / "shim/glowplug-runtime"


class Node:
    """runc's root, a bundle, and directories called `glowplug` that are somebody else's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "runc"
        self.bundle = directory / "bundle"
        (self.root / "c1").mkdir(parents=True)
        (self.bundle / "glowplug/work").mkdir(parents=True)
        for other in ("var/lib", "run", "opt"):
            (directory / other / "glowplug/checkpoints").mkdir(parents=True)

    def restored(self) -> None:
        marker.write(str(self.root), "c1", "c" * 16, str(self.bundle))

    def others(self) -> list[bool]:
        return [
            (self.directory / place / "glowplug/checkpoints").exists() for place in ("var/lib", "run", "opt")
        ]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "state"))
    return Node(tmp_path)


def run(node: Node, *words: str) -> int:
    return delete.run("/none/runc", argv.parse(["--root", str(node.root), *words]))


def records() -> list[dict[str, object]]:
    return [json.loads(file.read_text()) for file in Path(paths.spool()).glob("*.json")]


@pytest.mark.parametrize("log", ["var/lib/x.log", "run/runc.log", "opt/x", "log.json"])
@pytest.mark.parametrize("restored", [True, False])
def test_the_log_file_s_directory_is_nobody_s_business(node: Node, log: str, restored: bool) -> None:
    if restored:
        node.restored()
    assert run(node, "--log", str(node.directory / log), "delete", "c1") == RUNC
    assert node.others() == [True, True, True]
    assert (node.bundle / "glowplug").exists() is not restored
    assert [record["event"] for record in records()] == ["exit"] * restored


def test_it_is_done_once(node: Node) -> None:
    node.restored()
    assert [run(node, "delete", "--force", "c1") for _ in range(2)] == [RUNC, RUNC]
    assert len(records()) == 1
    assert os.listdir(node.root / "c1") == []


def test_a_marker_without_a_bundle_removes_nothing(node: Node) -> None:
    """As an older Glowplug wrote it; containerd removes the bundle itself."""
    (node.root / "c1/glowplug").write_text("c" * 16)
    assert run(node, "delete", "c1") == RUNC
    assert (node.bundle / "glowplug").exists()
    assert [(record["checkpoint"], record["ran_s"]) for record in records()] == [("c" * 16, None)]


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"bundle": "relative"}', '{"bundle": 7, "boot_s": "x"}', "\ud800"]
)
def test_a_damaged_marker_removes_nothing(node: Node, text: str) -> None:
    (node.root / "c1/glowplug").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert run(node, "delete", "c1") == RUNC
    assert (node.bundle / "glowplug").exists()


def test_how_long_it_ran_does_not_depend_on_the_wall_clock(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.restored()
    os.utime(node.root / "c1/glowplug", (0, 0))
    jumped = time.time() + 10_000_000
    monkeypatch.setattr(time, "time", lambda: jumped)
    run(node, "delete", "c1")
    (record,) = records()
    assert isinstance(record["ran_s"], float) and record["ran_s"] < 1000


@pytest.mark.parametrize("container", ["../c1", "", ".", "..", "c1/", "a/b", "x y", "c\n1"])
@pytest.mark.parametrize("verb", ["start", "kill", "delete", "create"])
def test_what_is_no_id_never_becomes_a_path(tmp_path: Path, container: str, verb: str) -> None:
    """runc gets it, and refuses it; ours looks at no file for it, and writes none."""
    root, run_dir = tmp_path / "root/below", tmp_path / "run"
    for place in (root, root / "c1", tmp_path / "root/c1", root / "a/b", root / "x y"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "glowplug").write_text('{"checkpoint": "x", "bundle": "/none"}')
    (root / container.strip() / "glowplug").parent.mkdir(parents=True, exist_ok=True)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    done = subprocess.run(
        [SCRIPT, "--root", root, verb, container],
        env={"PATH": os.environ["PATH"], "GLOWPLUG_RUNC": "/bin/echo", "GLOWPLUG_RUN_DIR": str(run_dir)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (f"--root {root} {verb} {container}\n", "")
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    with pytest.raises(argv.Unknown):
        argv.parse(["delete", container])


def test_a_container_called_glowplug_is_one_like_others(tmp_path: Path) -> None:
    """Its state directory is not a marker of runc's root, nor its bundle ours."""
    (tmp_path / "root/glowplug").mkdir(parents=True)
    (tmp_path / "glowplug").mkdir()
    for verb in ("start", "delete"):
        for container in ("glowplug", "c1"):
            done = subprocess.run(
                [SCRIPT, "--root", tmp_path / "root", "--log", tmp_path / "log.json", verb, container],
                env={
                    "PATH": os.environ["PATH"],
                    "GLOWPLUG_RUNC": "/bin/echo",
                    "GLOWPLUG_RUN_DIR": f"{tmp_path}/run",
                },
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.stdout.endswith(f"{verb} {container}\n")
    assert (tmp_path / "glowplug").is_dir()
