"""What is prepared while containerd makes a container: a miss completely, a match never, and nothing forever."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from glowplug import paths
from glowplug.agent.serving import prepare
from glowplug.containerd.records import ContainerRecord
from glowplug.outcomes.history import PREPARED

MISS = {"verdict": "miss", "slug": "no-checkpoint", "detail": "none"}
MATCHED: list[str] = []


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))
    os.makedirs(paths.prepared())
    os.makedirs(paths.spool())
    return tmp_path


def record(kind: str = "container", **annotations: str) -> ContainerRecord:
    spec: dict[str, Any] = {
        "process": {"args": ["true"], "cwd": "/", "env": []},
        "root": {"path": "rootfs"},
        "annotations": {
            "io.kubernetes.cri.container-type": kind,
            "io.kubernetes.cri.sandbox-id": "s1",
            "io.kubernetes.cri.sandbox-name": "pod",
            "io.kubernetes.cri.sandbox-namespace": "ns",
            "io.kubernetes.cri.container-name": "main",
            **annotations,
        },
        "linux": {
            "cgroupsPath": "/pods/c1",
            "namespaces": [{"type": name} for name in ("pid", "mount", "ipc", "uts", "network")],
        },
    }
    return ContainerRecord("c1", "", "", None, {}, 0.0, None, spec=spec, spec_text=json.dumps(spec).encode())


def prepared(found: ContainerRecord, answer: Mapping[str, object]) -> dict[str, Any]:
    """What was written, by name."""
    prepare.prepare(found, lambda _record, _config, _spec: answer, MATCHED.append, "all")
    try:
        names = os.listdir(paths.prepared_start("c1"))
    except FileNotFoundError:
        return {}
    return {name: json.loads(Path(paths.prepared_start("c1"), name).read_text()) for name in names}


def test_a_miss_is_written_down_with_the_spec_that_was_judged_and_the_edited_one() -> None:
    written = prepared(record(), MISS)
    assert written["spec.json"] == record().spec
    assert "seccomp" in written["edited.json"]["linux"]
    said = written["outcome.json"]
    assert (said["container_id"], said["pod"], said["outcome"]) == ("c1", "pod", "cold:no-checkpoint")


def test_a_match_is_left_to_the_start() -> None:
    MATCHED.clear()
    written = prepared(record(), {"verdict": "match", "checkpoint": "that", "unread_bytes": 1})
    assert written == {paths.MATCH: {"checkpoint": "that"}}
    assert MATCHED == ["that"]


def test_what_is_in_memory_is_not_read_ahead() -> None:
    """To look at all of its pages would take time from the start that follows."""
    MATCHED.clear()
    assert prepared(record(), {"verdict": "match", "checkpoint": "that", "unread_bytes": 0})
    assert MATCHED == []


def test_files_that_only_their_disk_is_too_slow_for_are_read_for_the_next_start() -> None:
    MATCHED.clear()
    assert prepared(record(), {**MISS, "slug": "restore-slower", "worth_if_read": "slow"}).keys() > {
        "spec.json"
    }
    assert MATCHED == ["slow"]


def test_a_sandbox_is_left_alone_without_an_outcome() -> None:
    assert prepared(record("sandbox"), {}).keys() == {"spec.json"}


def test_what_is_not_eligible_starts_unedited_and_says_why() -> None:
    written = prepared(record(**{"glowplug.dev/restore": "off"}), {})
    assert written.keys() == {"spec.json", "outcome.json"}
    assert written["outcome.json"]["outcome"] == "cold:off"


def test_secrets_of_the_spec_are_root_s_alone() -> None:
    prepared(record(), MISS)
    for name in os.listdir(paths.prepared_start("c1")):
        assert os.stat(f"{paths.prepared_start('c1')}/{name}").st_mode & 0o777 == 0o600
    assert os.stat(paths.prepared_start("c1")).st_mode & 0o777 == 0o700


def test_what_was_used_stays_until_its_outcome_is_taken_in(run_dir: Path) -> None:
    prepared(record(), MISS)
    marker = Path(f"{paths.spool()}/c1{PREPARED}")
    marker.write_text("")
    prepare.forget("c1")
    prepare.forget_all()
    assert os.listdir(paths.prepared()) == ["c1"]
    marker.unlink()
    prepare.forget_all(older_than_s=60)
    assert os.listdir(paths.prepared()) == ["c1"]
    prepare.forget_all()
    assert os.listdir(paths.prepared()) == []
