"""docs/cli.md knows every command, and every command reports itself."""

import os
import subprocess
import sys

import click
import pytest

from glowplug.cli import main
from glowplug.cli.main import commands

DOCS = f"{os.path.dirname(os.path.abspath(__file__))}/../docs/cli.md"


@pytest.mark.parametrize("name", sorted(main.COMMANDS))
def test_each_command_is_documented_and_has_help(name: str) -> None:
    with open(DOCS) as file:
        assert f"| `{name}" in file.read()
    command = commands.get_command(click.Context(commands), name)
    assert command is not None and command.name == name and command.help
    assert [
        option.name for option in command.params if isinstance(option, click.Option) and not option.help
    ] == []


def test_a_command_imports_no_other() -> None:
    """All of them together take longer than most of them work."""
    code = (
        "import sys; from glowplug.cli.main import commands; commands.main(['push', '--help'], standalone_mode=False);"
        "print([name for name in sys.modules if name.startswith('glowplug.cli.') or name == 'google.protobuf'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1]
    assert "glowplug.cli.push" in loaded
    assert "glowplug.cli.node" not in loaded and "google.protobuf" not in loaded


def test_no_command_is_documented_that_is_not_there() -> None:
    with open(DOCS) as file:
        rows = [line for line in file if line.startswith("| `")]
    assert {row.split("`")[1].split()[0] for row in rows} == set(main.COMMANDS)


@pytest.mark.parametrize("typed", [[], ["node"], ["quarantine"]])
def test_a_group_alone_says_its_commands(
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


def test_an_interrupt_is_one_line_and_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(**_: object) -> None:
        raise click.exceptions.Abort

    monkeypatch.setattr(commands, "main", interrupted)
    with pytest.raises(SystemExit) as end:
        main.main()
    assert (end.value.code, capsys.readouterr().err) == (130, "glowplug: interrupted\n")
