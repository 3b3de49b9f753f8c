"""What the demo prints fits an 80-column terminal, and is plain text in a pipe."""

import io

from hack.demolib.figures import Figures, Start, cold_phases, restore_phases
from hack.demolib.show import Display, worth_a_line
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from glowplug.cli.bars import Phase, bar

COLD_PHASES = cold_phases(0.1, 7.9, 8.17, {"models": 0.6, "warm-up": 7.0})
COLD = Start(8.17, ["text"], "t", "cold:no-checkpoint", "", COLD_PHASES)
RESTORE_PHASES = restore_phases(0.5, 0.8, 0.1, 0.35, {"resolve": 0.1, "lease": 0.001, "criu": 0.2})
RESTORE = Start(0.8, ["text"], "t", "restored", "", RESTORE_PHASES)
FIGURES = Figures(COLD, RESTORE, 90_000_000)


def printed(*, terminal: bool, encoding: str = "utf-8", figures: Figures = FIGURES) -> str:
    """What the demo writes for these figures."""
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding) as file:
        console = Console(
            file=file,
            force_terminal=terminal,
            width=80,
            highlight=False,
            color_system="standard" if terminal else None,
        )
        display = Display(console)
        with display.doing("starts the pod"):
            display.say("cold start", "8.17 s")
        display.figures(figures)
        file.flush()
        return raw.getvalue().decode(encoding)


def test_the_table_and_the_json_agree() -> None:
    """7.9251 is 7.93 in a table, and 7.925 in milliseconds, which would round to 7.92."""
    cold = Start(7.9251, ["text"], "t", "cold:no-checkpoint", "", COLD_PHASES)
    figures = Figures(cold, RESTORE, 90_000_000)
    assert f"{figures.as_json()['cold_s']:.2f} s" in printed(terminal=False, figures=figures)


def test_a_pipe_gets_no_control_codes() -> None:
    text = printed(terminal=False)
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert "starts the pod" not in text


def test_no_line_is_wider_than_the_terminal_nor_padded() -> None:
    for line in printed(terminal=False).splitlines():
        assert len(line) <= 80
        assert line == line.rstrip()


def test_the_figures_stand_in_the_table() -> None:
    text = printed(terminal=False)
    for figure in ("8.17 s", "0.80 s", "10.2x", "90.0 MB", "same"):
        assert figure in text


def test_a_terminal_gets_colours() -> None:
    assert "\x1b[" in printed(terminal=True)


def test_a_file_that_takes_no_other_letters_gets_ascii_bars() -> None:
    text = printed(terminal=False, encoding="ascii")
    assert "#####" in text


def test_short_phases_share_a_line() -> None:
    names = [phase.name for phase in worth_a_line(RESTORE)]
    assert "lease" not in names
    assert names[-1] == "other steps"


@given(
    begin_s=st.floats(0, 10),
    length_s=st.floats(0, 10),
    more_s=st.floats(0.001, 10),
    columns=st.integers(10, 100),
)
def test_a_bar_is_visible_and_stays_in_its_line(
    begin_s: float, length_s: float, more_s: float, columns: int
) -> None:
    phase = Phase("any", begin_s, length_s)
    for ascii_only in (False, True):
        drawn = bar(phase, begin_s + length_s + more_s, columns, ascii_only)
        assert drawn.strip()
        assert len(drawn) <= columns
