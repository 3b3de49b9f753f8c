"""A bundle's facts: all of them read, nothing skipped, nothing but BundleError raised."""

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import checkpoint_made as made

from glowplug.checkpoint import bundle, oci

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_every_fact_of_a_cri_bundle_is_read() -> None:
    facts = bundle.read(made.spec())
    assert facts.container_type == "container"
    assert (facts.sandbox_namespace, facts.sandbox_name, facts.sandbox_uid) == ("models", made.POD, made.UID)
    assert facts.container_id == made.CONTAINER
    assert (facts.uid, facts.gid, facts.gids, facts.umask) == (1000, 1000, (1000, 2000), None)
    assert facts.capabilities["bounding"] == ("CAP_CHOWN", "CAP_KILL", "CAP_SETUID")
    assert facts.no_new_privileges is True
    assert facts.rlimits == {"RLIMIT_NOFILE": (1024, 4096)}
    assert facts.oom_score_adj == 999
    assert facts.namespaces["network"] == "/proc/4711/ns/net"
    assert facts.namespaces["pid"] == ""
    assert (facts.memory_limit, facts.cpu_quota, facts.cpu_period) == (8 << 30, 200000, 100000)
    assert facts.other == {}
    assert len(facts.mounts) == len(made.spec()["mounts"])
    assert [device.path for device in facts.devices] == ["/dev/fuse"]


def test_the_container_id_is_read_from_a_systemd_cgroup_too() -> None:
    found = made.spec()
    found["linux"]["cgroupsPath"] = f"kubepods-burstable.slice:cri-containerd:{made.CONTAINER}"
    assert bundle.read(found).container_id == made.CONTAINER


def test_an_empty_spec_has_empty_facts() -> None:
    facts = bundle.read({})
    assert (facts.args, facts.env, facts.mounts, facts.container_type) == ((), (), (), "")
    assert facts.seccomp is None
    assert facts.memory_limit is None


def test_null_reads_as_absent() -> None:
    nulls: dict[str, Any] = dict.fromkeys(made.spec())
    assert vars(bundle.read(nulls)) == vars(bundle.read({}))


def test_a_field_that_nobody_has_heard_of_is_kept() -> None:
    found = made.spec()
    found["process"]["scheduler"] = {"policy": "SCHED_FIFO", "priority": 3}
    found["linux"]["personality"] = {"domain": "LINUX32"}
    found["vm"] = {"kernel": "/boot/vmlinuz"}
    assert set(bundle.read(found).other) == {"process.scheduler", "linux.personality", "vm"}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"process": {"args": "sh"}}, "process.args"),
        ({"process": {"args": [1]}}, "process.args"),
        ({"process": {"terminal": "yes"}}, "process.terminal"),
        ({"process": {"user": {"uid": True}}}, "process.user.uid"),
        ({"process": []}, "process"),
        ({"mounts": [{"type": "bind"}]}, "mounts.destination"),
        ({"linux": {"resources": {"memory": {"limit": 1.5}}}}, "linux.resources.memory.limit"),
        ({"annotations": {"glowplug.dev/restore": 1}}, "annotations.glowplug.dev/restore"),
        ({"hooks": {"prestart": {}}}, "hooks.prestart"),
    ],
)
def test_a_malformed_field_is_reported(change: dict[str, Any], where: str) -> None:
    with pytest.raises(oci.BundleError, match=f"config.json: {where}: expected"):
        bundle.read(change)


def test_a_number_beyond_all_bounds_is_refused() -> None:
    found = made.spec()
    found["process"]["scheduler"] = {"priority": float("inf")}
    with pytest.raises(oci.BundleError, match="a number is not finite"):
        bundle.read(found)


def test_a_message_never_holds_a_value() -> None:
    with pytest.raises(oci.BundleError) as caught:
        bundle.read({"process": {"env": {"API_KEY": made.SECRET}}})
    assert made.SECRET not in str(caught.value)


@given(JSON)
@settings(deadline=None)
def test_any_json_gives_facts_or_a_bundle_error(found: object) -> None:
    try:
        bundle.read(found)
    except oci.BundleError as error:
        assert str(error).startswith("config.json: ")


@given(st.sampled_from([path for _, path, _ in bundle.FIELDS]), JSON)
@settings(deadline=None)
def test_any_json_in_place_of_any_field_gives_facts_or_a_bundle_error(
    path: tuple[str, ...], value: object
) -> None:
    found = made.spec()
    node = found
    for name in path[:-1]:
        node = node.setdefault(name, {})
    node[path[-1]] = value
    try:
        bundle.read(found)
    except oci.BundleError as error:
        assert str(error).startswith("config.json: ")


def test_the_runtime_s_part_imports_little() -> None:
    program = "import sys, json; before = set(sys.modules); import glowplug.checkpoint.eligible; "
    program += "print(json.dumps(sorted(set(sys.modules) - before)))"
    shim = bundle.__file__.rsplit("/", 3)[0]
    done = subprocess.run(
        [sys.executable, "-IS", "-c", f"import sys; sys.path.insert(0, {shim!r}); {program}"],
        capture_output=True,
        check=True,
        timeout=60,
    )
    ours = ["checkpoint", "checkpoint.bundle", "checkpoint.eligible", "checkpoint.oci", "errors", "jsontext"]
    assert json.loads(done.stdout) == ["glowplug", *(f"glowplug.{name}" for name in ours)]
