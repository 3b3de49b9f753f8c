"""What of a pod is in its sandbox's record alone: its sysctls and its labels (rules 6.1 and 3.2)."""

import json
from typing import Any, cast

from tests import checkpoint_made as made

from glowplug.capture import identity
from glowplug.checkpoint import bundle
from glowplug.checkpoint.key import WorkloadKey
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.containerd.rpc import NotFound


class Served:
    """A containerd that has this sandbox, or none."""

    def __init__(self, sandbox: ContainerRecord | None) -> None:
        self._sandbox = sandbox

    def container(self, id: str) -> ContainerRecord:
        assert id == made.SANDBOX
        if self._sandbox is None:
            raise NotFound("none")
        return self._sandbox

    def chain_id(self, _: ContainerRecord) -> str:
        return made.CHAIN


def record(spec: dict[str, Any], **labels: str) -> ContainerRecord:
    text = json.dumps(spec).encode()
    return ContainerRecord("c1", "overlayfs", "", None, labels, 0.0, None, spec=spec, spec_text=text)


def key_of(sandbox: ContainerRecord | None, *env: str, pod: str = made.POD) -> WorkloadKey:
    spec = made.spec()
    spec["mounts"] = []
    spec["process"]["env"] = list(env)
    spec["annotations"]["io.kubernetes.cri.sandbox-name"] = pod
    found = identity.of(cast(Containerd, Served(sandbox)), record(spec), bundle.read(spec), made.SALT)
    return found.key


def test_its_sysctls_count() -> None:
    def of(value: str) -> object:
        return key_of(record({"linux": {"sysctl": {"kernel.shm_rmid_forced": value}}})).parts["sysctl"]

    assert of("1") == {"kernel.shm_rmid_forced": "1", "net.core.somaxconn": "1024"}
    assert of("1") != of("0")
    assert key_of(None).unknown["sysctl"]


def test_its_labels_say_that_a_machine_made_its_name() -> None:
    def of(pod: str, **labels: str) -> object:
        return key_of(record({}, **labels), f"PEER=rabbit@{pod}", pod=pod).parts["env"]

    job = {"batch.kubernetes.io/job-name": "train"}
    assert of("train-x2k4q", **job) == of("train-m7vtb", **job)
    assert of("train-x2k4q") != of("train-m7vtb")
