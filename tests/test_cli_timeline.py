"""`glowplug timeline`: the right start, its phases in their places, and a page that loads and runs nothing."""

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.cli_made import Node

from glowplug.cli import bars, phases
from glowplug.restore import stages

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the history is root's")

PHASES = {"criu": 0.4, "memory": 0.3, "check": 0.01, "resolve": 0.04, "cuda": 0.1, "cuda_restore": 0.1}


@pytest.fixture
def node(tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Node:
    return Node(str(tmp_path), monkeypatch, capsys)


def restored(node: Node, **fields: object) -> None:
    node.started(
        2.0,
        "restored",
        **{
            "container_id": "ab" * 32,
            "phases": PHASES,
            "total_s": 1.0,
            "memory_bytes": 6_000_000_000,
            "checkpoint": "1b" * 16,
            **fields,
        },
    )


def test_each_step_and_its_parts_have_a_place() -> None:
    names = phases.order()
    assert [name for name in names if name in stages.NAMES] == list(stages.NAMES)
    assert names.index("memory") == names.index("criu") + 1
    assert phases.in_order(["new-step", "commit", "resolve"]) == ["resolve", "commit", "new-step"]


def test_bars_follow_each_other(node: Node) -> None:
    restored(node)
    out = node.run("timeline", "abab").out
    assert "6.0 GB at 20.0 GB/s" in out
    rows = [line for line in out.splitlines() if set(line) & set(bars.EIGHTHS.strip() + "█")]
    assert [row.split()[0] for row in rows] == [
        *("resolve", "check", "criu", "memory", "cuda", "cuda_restore", "rest"),
    ]
    begins = [re.search(r"[█▏▎▍▌▋▊▉]", row) for row in rows]
    places = [found.start() for found in begins if found]
    assert places == sorted(places)
    assert max(map(len, rows)) <= 100


def test_a_pod_s_latest_start_and_a_container_by_its_id(node: Node) -> None:
    restored(node)
    node.started(3.0, "cold:container-restart", container_id="cd" * 32)
    assert "cold:container-restart" in node.run("timeline", "models/web").out
    assert "restored" in node.run("timeline", "ab").out
    assert "cold:container-restart" in node.run("timeline", "models/web/main").out


@pytest.mark.parametrize("wanted", ["ff", "models/other", "models", "/", "a"])
def test_what_is_not_one_start_is_one_line(node: Node, wanted: str) -> None:
    restored(node)
    node.spooled("9.0-1", {"time": 3.0, "outcome": "fallback:killed", "container_id": "ac" * 32})
    ran = node.run("timeline", wanted)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)


def test_starts_with_little_on_record_are_shown(node: Node) -> None:
    little: list[dict[str, object]] = [
        {"total_s": None},
        {"total_s": 0.0},
        {"phases": {"criu": 0}, "total_s": 0},
    ]
    for number, fields in enumerate(little):
        node.started(1.0 + number, "cold:no-agent", container_id=f"{number}f" * 32, **fields)
        file = f"{node.directory}/{number}.html"
        assert node.run("timeline", f"{number}f").status == 0
        assert node.run("timeline", f"{number}f", "--html", file).status == 0


class Page(HTMLParser):
    """What a page would run or load, and its text."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loads: list[str] = []
        self.text = ""
        self.widths: list[float] = []
        self.feed(Path(file).read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [name for name, _ in attrs if name in ("src", "href") or name.startswith("on")]
        if tag == "i":
            self.widths += [
                float(found) for found in re.findall(r"width:([0-9.]+)%", dict(attrs)["style"] or "")
            ]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_loads_nothing_and_takes_no_markup_from_a_container(node: Node) -> None:
    restored(node, pod="<script>alert(1)</script>", detail='"><img src=x onerror=alert(1)>')
    file = f"{node.directory}/start.html"
    assert node.run("timeline", "ab", "--html", file).out == f"wrote {file}\n"
    page = Page(file)
    assert page.tags.isdisjoint({"script", "img", "link", "iframe", "object"})
    assert page.loads == []
    assert "<script>alert(1)</script>" in page.text
    assert "http" not in Path(file).read_text().replace("http-equiv", "")
    assert sum(page.widths) == pytest.approx(100, abs=0.1)


def test_a_page_that_can_t_be_written_is_one_line_and_leaves_nothing(node: Node, tmp_path: Path) -> None:
    restored(node)
    (tmp_path / "there").mkdir()
    for file, why in (("none/x.html", "No such file or directory"), ("there", "Is a directory")):
        before = sorted(os.listdir(tmp_path))
        ran = node.run("timeline", "ab", "--html", str(tmp_path / file))
        assert (ran.status, ran.err.count("\n")) == (2, 1)
        assert why in ran.err
        assert sorted(os.listdir(tmp_path)) == before


def test_a_page_goes_through_no_link(node: Node, tmp_path: Path) -> None:
    """Root writes it, perhaps into /tmp."""
    restored(node)
    (tmp_path / "theirs").write_text("complete")
    (tmp_path / "x.html").symlink_to("theirs")
    (tmp_path / "x.html.new").symlink_to("theirs")
    assert node.run("timeline", "ab", "--html", str(tmp_path / "x.html")).status == 0
    assert (tmp_path / "theirs").read_text() == "complete"
    assert "<!doctype html>" in (tmp_path / "x.html").read_text()


def test_a_cold_start_is_one_bar_with_a_name_of_its_own(node: Node) -> None:
    node.started(1.0, "cold:no-agent", total_s=0.1)
    out = node.run("timeline", "c0").out
    assert [line.split()[0] for line in out.splitlines() if "█" in line] == [phases.HAND_OVER]
