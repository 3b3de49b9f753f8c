"""What is looked at once more when no process of the container runs any more: its volumes."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests import checkpoint_made as made

from glowplug.capture import identity
from glowplug.checkpoint import bundle
from glowplug.checkpoint import judgement as judgements
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.judgement import Judgement, MountedFiles
from glowplug.containerd.records import ContainerRecord
from glowplug.errors import CaptureRefused

MADE = time.time() - 60


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kubelet's directory of the pod, with an emptyDir and a volume of the node."""
    monkeypatch.setattr(identity, "DEADLINE_S", 60.0)  # a busy machine is no fault
    for place in ("volumes/kubernetes.io~empty-dir/scratch", "data"):
        (tmp_path / "pods" / made.UID / place).mkdir(parents=True)
    return tmp_path / "pods" / made.UID


def facts_of(pod: Path) -> BundleFacts:
    found = made.spec()
    found["mounts"] = [
        made.bind("/scratch", f"{pod}/volumes/kubernetes.io~empty-dir/scratch", "rw"),
        made.bind("/data", f"{pod.parent.parent}/data", "rw"),
    ]
    (pod.parent.parent / "data").mkdir(exist_ok=True)
    return bundle.read(found)


def judged(
    facts: BundleFacts, files: MountedFiles = judgements.NOTHING_FOUND, **conditions: Any
) -> Judgement:
    key = replace(made.key_of(), conditions=conditions)
    return judgements.make("c1", facts, key, (), spec="", edited="", salt=made.SALT, files=files)


def frozen(found: Judgement, facts: BundleFacts) -> Judgement:
    record = ContainerRecord("c1", "", "", None, {}, MADE, None, spec={}, spec_text=b"")
    return identity.when_frozen(found, record, facts, made.SALT)


def test_the_state_of_a_volume_is_that_of_the_frozen_moment(pod: Path) -> None:
    facts = facts_of(pod)
    before = frozen(judged(facts, account="a"), facts)
    (pod.parent.parent / "data" / "written").write_text("meanwhile")
    after = frozen(judged(facts, account="a"), facts)
    assert before.key.conditions["account"] == after.key.conditions["account"] == "a"
    assert before.key.conditions["volumes"] != after.key.conditions["volumes"]


def test_a_volume_whose_state_can_not_be_known_refuses(pod: Path) -> None:
    facts = facts_of(pod)
    os.rmdir(pod.parent.parent / "data")
    with pytest.raises(CaptureRefused, match="/data: it can be written to, and its state can't be known"):
        frozen(judged(facts), facts)


def test_an_empty_dir_that_others_filled_meanwhile_refuses(pod: Path) -> None:
    facts = facts_of(pod)
    file = pod / "volumes/kubernetes.io~empty-dir/scratch/file"
    file.write_text("by the container itself")
    frozen(judged(facts), facts)
    with pytest.raises(CaptureRefused, match="mount /scratch: it was filled meanwhile"):
        frozen(judged(facts, MountedFiles(filled=("/scratch",))), facts)
