"""Commands over the cache: list, inspect, verify, rm, gc, pin, unpin, quarantine."""

import json
import os
import re
from dataclasses import replace

import pytest
from rich.console import Console
from tests import checkpoint_made as made
from tests.cli_made import Node

from glowplug.cache import check, lease
from glowplug.cache.state import FOREVER
from glowplug.checkpoint import manifest as manifests
from glowplug.cli import screen

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="checkpoints are root's")


@pytest.fixture
def node(tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Node:
    return Node(str(tmp_path), monkeypatch, capsys)


# -- naming a checkpoint --


def test_an_id_may_be_abbreviated(node: Node) -> None:
    checkpoint = node.published()
    for typed in (checkpoint, checkpoint[:7], checkpoint[:7].upper(), checkpoint[:1]):
        assert json.loads(node.run("inspect", "--json", typed).out)["id"] == checkpoint


def test_an_ambiguous_or_unknown_id_is_one_clear_line_and_nothing_is_done(node: Node) -> None:
    ids = {node.published(f"2026-03-01T12:00:{second:02}Z") for second in range(17)}  # 16 first digits
    first = next(digit for digit in "0123456789abcdef" if sum(id.startswith(digit) for id in ids) > 1)
    same = [id for id in ids if id.startswith(first)]
    absent = next(f"{number:032x}" for number in range(100) if f"{number:032x}" not in ids)
    typed = [
        (first, f"got {len(same)} whose id begins with {first}"),
        (absent, "no checkpoint has an id"),
        ("../x", "hexadecimal"),
    ]
    for wrong, said in typed:
        for command in ("rm", "pin", "unpin", "verify"):
            ran = node.run(command, same[0], wrong)
            assert (ran.status, ran.out) == (2, "")
            assert said in ran.err
            assert ran.err.count("\n") == 1
    assert set(node.store.ids()) == ids
    assert not any(row.pinned for row in node.store.rows())


def test_a_command_without_ids_is_wrong_input(node: Node) -> None:
    for command in (["rm"], ["pin"], ["inspect"], ["verify"], ["quarantine", "clear"]):
        ran = node.run(*command)
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)


# -- list and inspect --


def test_a_row_per_checkpoint_the_newest_first(node: Node) -> None:
    old = node.published("2026-03-01T12:00:00Z")
    new = node.published("2026-03-02T12:00:00Z", namespace="jobs", pod="batch-1", shared=True)
    node.store.pin(old)
    lines = node.run("list").out.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", new[:12], old[:12]]
    assert lines[1].split()[1:3] == ["jobs", "batch-1/main"]
    assert (lines[1].split()[-1], lines[2].split()[-1]) == ("shared", "pinned")
    assert [row["id"] for row in json.loads(node.run("list", "--json").out)] == [new, old]
    assert [row["id"] for row in json.loads(node.run("list", "--json", "-n", "jobs").out)] == [new]
    assert node.run("list", "-n", "none").out.count("\n") == 1


def test_in_a_pipe_no_row_is_folded_and_nothing_trails(node: Node) -> None:
    node.published(pod="p" * 200)
    lines = node.run("list").out.splitlines()
    assert len(lines) == 2
    assert "p" * 200 in lines[1]
    assert [line for line in lines if line != line.rstrip() or "\x1b" in line] == []


def test_tables_fit_eighty_columns_of_a_terminal(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = node.published(pod="web-7d9f8c6b5d-x2k4q", namespace="a-namespace-of-somebody")
    node.store.quarantine(checkpoint, "criu: " + "it broke " * 20)
    node.started(
        2.0, "cold:container-restart", pod="web-7d9f8c6b5d-x2k4q", namespace="a-namespace-of-somebody"
    )
    monkeypatch.setattr(screen, "console", lambda: Console(width=80, force_terminal=True, markup=False))
    for command in (["list"], ["history"], ["quarantine", "list"]):
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in node.run(*command).out.splitlines()]
        assert max(map(len, lines)) <= 80
        assert not [line for line in lines if "…" in line]


def test_inspect_says_sizes_processes_key_and_requirements_by_name_only(node: Node) -> None:
    checkpoint = node.published()
    text = node.run("inspect", checkpoint).out
    for reported in (
        "models/",
        "gpu-node-7",
        "4.3 GB",
        "server",
        "API_KEY",
        "NVIDIA H100",
        "580.159.04",
        "21.30 s",
    ):
        assert reported in text
    found = node.run("inspect", "--json", checkpoint).out
    assert json.loads(found)["sizes"]["gpu_memory"] == 4 << 30
    hashes = {value for value in _env(checkpoint, node).values() if not value.startswith("<")}
    assert hashes
    assert [value for value in (*hashes, made.SECRET) if value in text or value in found] == []


def _env(checkpoint: str, node: Node) -> dict[str, str]:
    env = manifests.loads(node.store.manifest(checkpoint)).key.parts["env"]
    assert isinstance(env, dict)
    return env


def test_a_container_can_t_write_to_the_terminal_through_a_name(node: Node) -> None:
    process = replace(made.manifest_of().processes[0], comm="\x1b]0;own\x07\nx")
    checkpoint = node.published(processes=(process,), pod="a\x1b[31mb")
    for ran in (node.run("inspect", checkpoint), node.run("list")):
        assert ran.status == 0
        assert "\x1b" not in ran.out
        assert "\x07" not in ran.out


def rewritten(node: Node, checkpoint: str, what: str, by: str) -> str:
    """The checkpoint as another Glowplug would have written it; its id."""
    path = f"{node.cache}/checkpoints/{checkpoint}/manifest.json"
    with open(path) as file:
        before = json.dumps(json.load(file))
    assert what in before
    text = before.replace(what, by).encode()
    with open(path, "wb") as opened:
        opened.write(text)
    other = check.checkpoint_id(text)
    os.rename(os.path.dirname(path), f"{node.cache}/checkpoints/{other}")
    return other


def test_a_manifest_of_a_newer_version_is_shown_with_the_reason(node: Node) -> None:
    newer = rewritten(node, node.published(), '"version": 1}', '"version": 2, "more": 1}')
    line = node.run("list").out.splitlines()[1]
    assert (line.split()[0], line.split()[-1]) == (newer[:12], "unreadable")
    assert "a newer Glowplug wrote it" in json.loads(node.run("list", "--json").out)[0]["unreadable"]
    ran = node.run("inspect", newer)
    assert ran.status == 0
    assert "state:          unreadable" in ran.out
    assert "a newer Glowplug wrote it" in ran.out


# -- verify --


def test_verify_finds_a_changed_byte_and_quarantines_the_checkpoint(node: Node) -> None:
    intact, damaged = node.published("2026-03-01T12:00:00Z"), node.published("2026-03-02T12:00:00Z")
    assert node.run("verify", "--all").status == 0
    with open(f"{node.cache}/checkpoints/{damaged}/images/pages-1.img", "r+b") as file:
        file.write(b"\x77")
    ran = node.run("verify", "--all")
    assert ran.status == 1
    assert f"{intact}  intact" in ran.out
    assert "images/pages-1.img" in ran.out
    found = node.store.state(damaged).quarantine
    assert found is not None
    assert found.until is None
    assert node.store.state(intact).quarantine is None
    reported = json.loads(node.run("verify", "--json", damaged, intact).out)
    assert [bool(one["problems"]) for one in reported] == [True, False]


def test_verify_leaves_what_a_newer_glowplug_wrote_as_it_is(node: Node) -> None:
    newer = rewritten(node, node.published(), "blake3:", "blake9:")
    ran = node.run("verify", "--all")
    assert ran.status == 0
    assert f"{newer}  not verified" in ran.out and "blake9" in ran.out
    assert node.store.state(newer).quarantine is None
    (reported,) = json.loads(node.run("verify", "--all", "--json").out)
    assert (reported["problems"], "blake9" in reported["unknown"]) == ([], True)


# -- rm, pin, gc --


def test_rm_removes_what_is_not_in_use_and_says_what_is(node: Node) -> None:
    used, other = node.published("2026-03-01T12:00:00Z"), node.published("2026-03-02T12:00:00Z")
    lock = lease.take(node.cache, used)
    try:
        ran = node.run("rm", used, other)
    finally:
        lease.release(lock)
    assert (ran.status, ran.err.count("\n")) == (1, 1)
    assert f"{used} is in use" in ran.err
    assert f"removed {other}" in ran.out
    assert node.store.ids() == [used]
    assert node.run("rm", used).status == 0
    assert node.store.ids() == []


def test_gc_keeps_what_is_pinned_and_a_dry_run_removes_nothing(node: Node) -> None:
    first, second = node.published("2026-03-01T12:00:00Z"), node.published("2026-03-02T12:00:00Z")
    node.configure({"cache_limit_bytes": node.store.size(first) + 1})
    assert node.run("pin", first).status == 0
    ran = node.run("gc", "--dry-run")
    assert (ran.status, len(node.store.ids())) == (0, 2)
    assert f"would remove {second}" in ran.out
    assert [one["checkpoint"] for one in json.loads(node.run("gc", "--dry-run", "--json").out)] == [second]
    assert f"removed {second}" in node.run("gc").out
    assert node.store.ids() == [first]
    node.configure({"cache_limit_bytes": 1})
    assert "nothing" in node.run("gc").out
    assert node.run("unpin", first).status == 0
    assert f"removed {first}" in node.run("gc").out


# -- quarantine --


def test_quarantine_is_listed_with_its_reason_and_cleared(node: Node) -> None:
    checkpoint, other = node.published("2026-03-01T12:00:00Z"), node.published("2026-03-02T12:00:00Z")
    node.store.quarantine(checkpoint, "criu: it broke", ["(00.1) Error (x.c:1): broke"], until=FOREVER)
    lines = node.run("quarantine", "list").out.splitlines()
    assert len(lines) == 2
    assert lines[1].split()[:4] == [checkpoint[:12], "models", "manually", "cleared"]
    assert lines[1].endswith("criu: it broke")
    assert json.loads(node.run("quarantine", "list", "--json").out)[0]["log_tail"] == [
        "(00.1) Error (x.c:1): broke"
    ]
    assert "criu: it broke (until manually cleared" in node.run("inspect", checkpoint).out
    assert node.run("quarantine", "clear", checkpoint, other).status == 0
    assert node.store.state(checkpoint).quarantine is None
    assert node.run("quarantine", "list").out == "no checkpoint is quarantined\n"


def test_clearing_an_unreadable_state_says_that_it_leaves_a_pin(node: Node) -> None:
    checkpoint = node.published()
    with open(f"{node.cache}/state/{checkpoint}.json", "w") as file:
        file.write("no state")
    assert node.run("quarantine", "clear", checkpoint).out == f"cleared {checkpoint}, which is pinned\n"
    node.run("unpin", checkpoint)
    assert node.run("quarantine", "clear", checkpoint).out == f"cleared {checkpoint}\n"
