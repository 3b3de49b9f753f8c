"""What is read from containerd's record of a container, and what never comes out of it."""

import json
from typing import Any

import pytest

from glowplug.containerd.protos import containers_pb2, runc_options_pb2
from glowplug.containerd.records import METADATA_EXTENSION, RuncOptions, container_record
from glowplug.errors import ContainerdError

SECRET = "do-not-show-me"

SPEC = {
    "process": {"env": [f"PASSWORD={SECRET}"]},
    "annotations": {
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.sandbox-name": "model-0",
        "io.kubernetes.cri.sandbox-uid": "u-1",
    },
}
# As containerd 1.6 and 1.7 write it; Go leaves out what is zero.
METADATA: dict[str, Any] = {
    "ID": "c1",
    "Name": "main_model-0_shop_u-1_2",
    "SandboxID": "s1",
    "Config": {
        "metadata": {"name": "main", "attempt": 2},
        "envs": [{"key": "PASSWORD", "value": SECRET}],
        "annotations": {"io.kubernetes.container.restartCount": "2", "example.com/note": SECRET},
    },
    "ImageRef": "sha256:config",
    "LogPath": "/var/log/pods/shop/main/2.log",
    "StopSignal": "SIGQUIT",
}


def message(metadata: Any = METADATA, version: str = "v1", **fields: Any) -> containers_pb2.Container:
    made = containers_pb2.Container(id="c1", snapshotter="overlayfs", snapshot_key="k1", **fields)
    made.spec.value = json.dumps(SPEC).encode()
    made.extensions[METADATA_EXTENSION].value = json.dumps(
        {"Version": version, "Metadata": metadata}
    ).encode()
    return made


def test_cri_metadata_is_read_as_all_versions_write_it() -> None:
    old = container_record(message()).cri
    assert old is not None
    assert (old.container_name, old.sandbox_id, old.image_ref) == ("main", "s1", "sha256:config")
    assert (old.log_path, old.stop_signal) == ("/var/log/pods/shop/main/2.log", "SIGQUIT")
    assert not old.stdin
    config = METADATA["Config"] | {"stdin": True}
    new = container_record(
        message(METADATA | {"Config": config, "ImageDigest": "sha256:index", "ImageName": "a/b:1"})
    ).cri
    assert new is not None
    assert (new.image_ref, new.stdin) == ("sha256:config", True)


def test_a_container_that_cri_did_not_make_has_no_metadata() -> None:
    record = container_record(containers_pb2.Container(id="c1"))
    assert (record.cri, record.spec) == (None, {})


def test_metadata_of_an_unknown_version_is_refused() -> None:
    with pytest.raises(ContainerdError, match="'v2'"):
        container_record(message(version="v2"))


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff"])
def test_a_damaged_record_is_refused(text: bytes) -> None:
    made = message()
    made.spec.value = text
    with pytest.raises(ContainerdError, match=r"container c1 has a spec that is not (a )?JSON"):
        container_record(made)


def test_env_values_are_in_no_text_about_a_record() -> None:
    assert SECRET not in repr(container_record(message()))
    made = message(METADATA, version="v9")
    made.spec.value = f'{{"process": "{SECRET}"'.encode()
    with pytest.raises(ContainerdError) as caught:
        container_record(made)
    assert SECRET not in str(caught.value)


def test_the_handlers_runc_options_are_read() -> None:
    made = message(runtime=containers_pb2.Container.Runtime(name="io.containerd.runc.v2"))
    assert container_record(made).runc == RuncOptions("", "")
    options = runc_options_pb2.Options(binary_name="/x/runtime", root="/x/root", systemd_cgroup=True)
    made.runtime.options.value = options.SerializeToString()
    assert container_record(made).runc == RuncOptions("/x/runtime", "/x/root")
    made.runtime.options.value = b"\xff"
    with pytest.raises(ContainerdError, match="runtime options"):
        container_record(made)
    made.runtime.name = "io.containerd.kata.v2"
    assert container_record(made).runc is None


def test_a_sandbox_is_known_by_containerds_own_label() -> None:
    assert container_record(message(labels={"io.cri-containerd.kind": "sandbox"})).is_sandbox
    assert not container_record(message(labels={"io.cri-containerd.kind": "container"})).is_sandbox
