"""docs/cli.md knows every command, and every command tells of itself."""

import os
import subprocess
import sys

import click
import pytest

from glowplug.cli import main
from glowplug.cli.main import commands

DOCS = f"{os.path.dirname(os.path.abspath(__file__))}/../docs/cli.md"


@pytest.mark.parametrize("name", sorted(commands.commands))
def test_each_command_is_documented_and_has_help(name: str) -> None:
    with open(DOCS) as file:
        assert f"| `{name}" in file.read()
    command = commands.commands[name]
    assert command.help
    assert [
        option.name for option in command.params if isinstance(option, click.Option) and not option.help
    ] == []


def test_no_command_is_documented_that_is_not_there() -> None:
    with open(DOCS) as file:
        rows = [line for line in file if line.startswith("| `")]
    assert {row.split("`")[1].split()[0] for row in rows} == set(commands.commands)


@pytest.mark.parametrize("typed", [[], ["node"], ["quarantine"]])
def test_a_group_alone_tells_its_commands(
    typed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["glowplug", *typed])
    with pytest.raises(SystemExit) as end:
        main.main()
    said = capsys.readouterr()
    assert (end.value.code, said.out) == (2, "")
    assert "Usage: " in said.err and "\nCommands:\n" in said.err


def test_output_that_can_t_be_written_is_one_line() -> None:
    command = [sys.executable, "-c", "from glowplug.cli.main import main; main()", "node", "render"]
    env = {**os.environ, "PYTHONPATH": f"{os.path.dirname(DOCS)}/../shim"}
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, env=env, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "glowplug: [Errno 28] No space left on device\n")
