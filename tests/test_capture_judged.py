"""The bundle that runc has of a container, which others may have edited behind containerd's record."""

import json
import os
from pathlib import Path

import pytest

from glowplug import paths
from glowplug.capture import judged
from glowplug.errors import HostError


def state(root: Path, *labels: str) -> str:
    """runc's, of the container c1. runc's root."""
    (root / "c1").mkdir(parents=True)
    (root / "c1" / "state.json").write_text(json.dumps({"config": {"labels": list(labels)}}))
    return str(root)


def bundle(directory: Path, **spec: object) -> Path:
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(spec))
    return directory


def test_the_spec_is_the_one_in_the_bundle_that_runc_names(tmp_path: Path) -> None:
    made = bundle(tmp_path / "bundle", process={"args": ["edited"]})
    root = state(tmp_path / "runc", "other=/x", f"bundle={made}")
    assert judged.spec_of(root, "c1") == {"process": {"args": ["edited"]}}
    assert judged.facts_of(root, "c1").args == ("edited",)


def test_of_a_restored_container_it_is_the_pod_s_and_not_our_copy(tmp_path: Path) -> None:
    made = bundle(tmp_path / "bundle", process={"args": ["the pod's"]})
    ours = paths.restore_bundle(str(made))
    os.makedirs(ours)
    root = state(tmp_path / "runc", f"bundle={ours}")
    assert judged.bundle_of(root, "c1") == str(made)


@pytest.mark.parametrize("labels", [(), ("bundle=relative",), ("other=/x",)])
def test_a_state_that_names_none_is_one_clear_error(tmp_path: Path, labels: tuple[str, ...]) -> None:
    with pytest.raises(HostError, match="names no bundle"):
        judged.bundle_of(state(tmp_path / "runc", *labels), "c1")


@pytest.mark.parametrize("text", ["", "[]", "{", "\0"])
def test_a_bundle_without_a_spec_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(HostError, match=r"config\.json"):
        judged.spec_in(str(tmp_path))
