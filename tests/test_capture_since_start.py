"""A capture goes by the judgement of the start; of a container that nobody judged, by what can't have changed."""

import copy
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.checkpoint_made import CONTAINER, SALT, key_of, spec

from glowplug import paths
from glowplug.capture import identity, judged, since_start
from glowplug.capture.identity import Identity
from glowplug.checkpoint import bundle, withheld
from glowplug.errors import CaptureRefused, HostError

ANY: Any = None


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(identity, "of", lambda *_arguments, **_by_name: Identity(key_of(CURRENT["spec"]), ()))
    CURRENT["spec"] = spec()
    return tmp_path


CURRENT: dict[str, dict[str, Any]] = {}
"""What the files of the container's mounts would say now, as a spec whose key stands for them."""


def record(found: dict[str, Any]) -> Any:
    return SimpleNamespace(id=CONTAINER, spec=found)


def edited(found: dict[str, Any]) -> dict[str, Any]:
    return withheld.without(found, os.uname().machine)


def keep(found: dict[str, Any]) -> None:
    """As the agent does at the create."""
    judged.keep(judged.judge(ANY, record(found), found, bundle.read(found), SALT))


def require(recorded: dict[str, Any], in_bundle: dict[str, Any]) -> Any:
    return since_start.require(ANY, record(recorded), in_bundle, SALT, os.getpid())


def test_the_key_of_the_start_is_taken_also_behind_our_own_edit() -> None:
    keep(spec())
    assert require(spec(), edited(spec())).key == key_of(spec())


def test_what_is_another_since_is_reported() -> None:
    keep(spec())
    CURRENT["spec"]["process"]["env"].append("MORE=1")
    with pytest.raises(CaptureRefused, match=r"env\.MORE") as raised:
        require(spec(), edited(spec()))
    assert raised.value.slug == "changed"


def test_a_limit_that_was_resized_refuses() -> None:
    keep(spec())
    resized = copy.deepcopy(spec())
    resized["linux"]["resources"]["memory"]["limit"] *= 2
    with pytest.raises(CaptureRefused, match="memory_limit changed since its start"):
        require(resized, spec())


def test_one_that_nobody_judged_is_judged_late_where_only_we_edited_it() -> None:
    assert require(spec(), edited(spec())).key == key_of(spec())
    assert require(spec(), spec()).key == key_of(spec())


def test_one_that_nobody_judged_and_somebody_edited_is_refused() -> None:
    by_nvidia = copy.deepcopy(spec())
    by_nvidia["process"]["env"].append("NVIDIA=1")
    with pytest.raises(CaptureRefused) as raised:
        require(spec(), by_nvidia)
    assert raised.value.slug == "not-judged"


def test_a_config_map_that_is_newer_than_an_unjudged_container_refuses(tmp_path: Path) -> None:
    source = tmp_path / "settings"
    source.mkdir()
    (source / "..data").symlink_to("..1")
    later = time.time() + 60
    os.utime(source / "..data", (later, later), follow_symlinks=False)
    found = spec()
    found["mounts"].append(
        {"destination": "/etc/settings", "type": "bind", "source": str(source), "options": ["rbind", "ro"]}
    )
    with pytest.raises(CaptureRefused, match="/etc/settings changed since"):
        require(found, found)


def test_the_bundle_is_the_one_that_runc_names(tmp_path: Path) -> None:
    state = tmp_path / "runc" / CONTAINER
    state.mkdir(parents=True)
    for directory in ("/run/bundle", "/run/bundle/glowplug"):
        (state / "state.json").write_text(json.dumps({"config": {"labels": ["a=b", f"bundle={directory}"]}}))
        assert judged.bundle_of(str(tmp_path / "runc"), CONTAINER) == "/run/bundle"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"config": 7}', '{"config": {"labels": ["bundle=x"]}}'])
def test_a_state_that_names_no_bundle_is_an_error(content: str, tmp_path: Path) -> None:
    state = tmp_path / "runc" / CONTAINER
    state.mkdir(parents=True)
    (state / "state.json").write_text(content)
    with pytest.raises(HostError):
        judged.bundle_of(str(tmp_path / "runc"), CONTAINER)


def test_a_damaged_judgement_is_none(tmp_path: Path) -> None:
    keep(spec())
    assert judged.all_kept() == [CONTAINER]
    Path(paths.judgement(CONTAINER)).write_text("{")
    assert judged.of(CONTAINER) is None
    judged.forget(CONTAINER)
    judged.forget(CONTAINER)
    assert judged.all_kept() == []
