"""What the command says of an error: one line, and nothing in it that a terminal would obey."""

import pytest

from glowplug.cli import main
from glowplug.errors import CriuError


def test_control_characters_of_a_name_are_escaped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise CriuError("a file called \x1b[2J\udcff\x9bm\nis in the way")

    monkeypatch.setattr(main.commands, "main", fail)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "glowplug: a file called \\x1b[2J\\udcff\\x9bm is in the way\n"
