"""`glowplug node render`: what it prints is what containerd and CRI-O take."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.node_made import containerd_major, needs_programs

from glowplug.node import templates

SHIM = str(Path(__file__).parent.parent / "shim")


def render(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """`glowplug node render` with these arguments."""
    program = "from glowplug.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "node", "render", *arguments],
        env={"PYTHONPATH": SHIM},
        capture_output=True,
        text=True,
    )


def test_each_is_printed_with_nothing_left_to_fill_in() -> None:
    listed = render().stdout.splitlines()
    assert listed == templates.names() and "crio.conf" in listed
    for name in listed:
        if name.startswith(("containerd", "crio")):
            found = tomllib.loads(render(name).stdout)
            assert "${" not in str(found) and "/opt/glowplug/bin/glowplug-runtime" in str(found)


@pytest.mark.parametrize("name", ["containerd-v2.toml", "containerd-v3.toml"])
def test_containerd_takes_it(tmp_path: Path, name: str) -> None:
    needs_programs()
    if name == "containerd-v3.toml" and containerd_major() < 2:
        pytest.skip("containerd 1.x reads no version 3")
    text = render(name, "--handler", "other", "--prefix", "/srv/glow").stdout
    file = tmp_path / "config.toml"
    file.write_text(text if "version = " in text.splitlines()[1] else f"version = 2\n{text}")
    dump = subprocess.run(
        ["containerd", "--config", str(file), "config", "dump"], check=True, capture_output=True, text=True
    ).stdout
    assert "/srv/glow/bin/glowplug-runtime" in dump and "runtimes.other]" in dump


@pytest.mark.parametrize("name", ["none", "../pyproject.toml", "/etc/passwd", "", "crio.conf\n"])
def test_an_unknown_name_is_one_line_and_2(name: str) -> None:
    done = render(name)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "containerd-v2.toml" in done.stderr


def test_a_relative_prefix_is_refused() -> None:
    done = render("containerd-v2.toml", "--prefix", "opt")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "--prefix: expected an absolute path" in done.stderr
