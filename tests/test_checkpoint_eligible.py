"""Who may start from a checkpoint: one case for each rule, and a plain container that breaks none."""

from collections.abc import Callable
from typing import Any

import pytest
from tests import checkpoint_made as made

from glowplug.checkpoint import bundle
from glowplug.checkpoint.eligible import (
    RECORD_RULES,
    RULES,
    RecordFacts,
    ineligible,
    ineligible_record,
    kind_by_labels,
)

Spec = dict[str, Any]


def without(found: Spec, namespace: str) -> None:
    found["linux"]["namespaces"] = [one for one in found["linux"]["namespaces"] if one["type"] != namespace]


def joined(found: Spec, namespace: str) -> None:
    without(found, namespace)
    found["linux"]["namespaces"].append({"type": namespace, "path": f"/proc/1/ns/{namespace}"})


def annotated(found: Spec, name: str, value: str) -> None:
    found["annotations"][name] = value


def hooked(found: Spec, stage: str, *command: str) -> None:
    found["hooks"] = {stage: [{"path": command[0], "args": list(command)}]}


CASES: list[tuple[str, Callable[[Spec], None]]] = [
    ("sandbox", lambda s: annotated(s, "io.kubernetes.cri.container-type", "sandbox")),
    ("not-cri", lambda s: s.pop("annotations")),
    ("not-cri", lambda s: s["annotations"].pop("io.kubernetes.cri.sandbox-namespace")),
    ("off", lambda s: annotated(s, "glowplug.dev/restore", "off")),
    ("bad-annotation", lambda s: annotated(s, "glowplug.dev/restore", "Off")),
    ("not-selected", lambda s: annotated(s, "glowplug.dev/containers", "sidecar, other")),
    ("no-args", lambda s: s["process"].pop("args")),
    ("terminal", lambda s: s["process"].update(terminal=True)),
    ("shared-pid", lambda s: joined(s, "pid")),
    ("shared-pid", lambda s: without(s, "pid")),
    ("user-namespace", lambda s: joined(s, "user")),
    ("user-namespace", lambda s: s["linux"].update(uidMappings=[{"containerID": 0, "hostID": 1, "size": 1}])),
    ("host-network", lambda s: without(s, "network")),
    ("host-namespace", lambda s: without(s, "ipc")),
    ("host-namespace", lambda s: without(s, "uts")),
    ("host-namespace", lambda s: without(s, "mount")),
    ("joined-namespace", lambda s: joined(s, "cgroup")),
    ("joined-namespace", lambda s: joined(s, "time")),
    ("seccomp-notify", lambda s: s["linux"]["seccomp"].update(listenerPath="/run/listener.sock")),
    ("nvidia-hook", lambda s: hooked(s, "prestart", "/usr/bin/nvidia-container-runtime-hook", "prestart")),
    ("hooks", lambda s: hooked(s, "createContainer", "/usr/bin/mount-something")),
    ("hooks", lambda s: hooked(s, "startContainer", "/bin/warm-up")),
    ("hooks", lambda s: hooked(s, "poststart", "/bin/report")),
]


def slugs(found: Spec) -> list[str]:
    return [slug for slug, _ in ineligible(bundle.read(found))]


def test_a_plain_container_is_eligible() -> None:
    assert slugs(made.spec()) == []


@pytest.mark.parametrize(("slug", "change"), CASES)
def test_each_rule_speaks_alone(slug: str, change: Callable[[Spec], None]) -> None:
    found = made.spec()
    change(found)
    assert slugs(found) == [slug]


def test_every_rule_has_a_case_and_a_slug_of_its_own() -> None:
    assert {slug for slug, _ in CASES} == {slug for slug, _, _ in RULES}
    assert len({slug for slug, _, _ in RULES}) == len(RULES)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: annotated(s, "glowplug.dev/restore", "on"),
        lambda s: annotated(s, "glowplug.dev/restore", "observe"),
        lambda s: annotated(s, "glowplug.dev/containers", "sidecar main"),
        lambda s: s["linux"]["namespaces"].append({"type": "cgroup"}),
        lambda s: hooked(s, "createRuntime", "/usr/bin/anything"),
        lambda s: hooked(
            s, "createContainer", "/usr/bin/nvidia-cdi-hook", "update-ldcache", "--folder", "/lib"
        ),
        lambda s: hooked(s, "createContainer", "/usr/bin/nvidia-ctk", "hook", "create-symlinks"),
    ],
)
def test_what_does_no_harm_is_eligible(change: Callable[[Spec], None]) -> None:
    found = made.spec()
    change(found)
    assert slugs(found) == []


@pytest.mark.parametrize(
    "work",  # what nvidia-ctk cdi generate writes, 1.17 to 1.20
    [
        "chmod",
        "create-symlinks",
        "create-soname-symlinks",
        "disable-device-node-modification",
        "enable-cuda-compat",
        "update-application-profile",
        "update-ldcache",
    ],
)
def test_the_hooks_of_every_cdi_generator_are_known(work: str) -> None:
    found = made.spec()
    hooked(found, "createContainer", "/usr/bin/nvidia-cdi-hook", work, "--an-option", "x")
    assert slugs(found) == []


def test_another_work_of_the_cdi_hook_is_not_taken_on_trust() -> None:
    found = made.spec()
    hooked(found, "createContainer", "/usr/bin/nvidia-cdi-hook", "mount-it-all")
    assert slugs(found) == ["hooks"]


FINE = {"snapshotter": "overlayfs", "host_network": False, "host_ipc": False}
RECORD_CASES: list[tuple[str, dict[str, Any]]] = [
    ("snapshotter", {**FINE, "snapshotter": "native"}),
    ("snapshotter", {**FINE, "snapshotter": None}),
    ("host-network", {**FINE, "host_network": True}),
    ("host-network", {**FINE, "host_network": None}),
    ("host-namespace", {**FINE, "host_ipc": True}),
    ("host-namespace", {**FINE, "host_ipc": None}),
    ("init-container", {**FINE, "kind": "init"}),
    ("ephemeral-container", {**FINE, "kind": "ephemeral"}),
]


@pytest.mark.parametrize(("slug", "record"), RECORD_CASES)
def test_each_rule_about_records_speaks_alone(slug: str, record: dict[str, Any]) -> None:
    assert [found for found, _ in ineligible_record(RecordFacts(**record))] == [slug]


def test_records_that_break_no_rule() -> None:
    assert ineligible_record(RecordFacts("overlayfs", False, False)) == []
    assert ineligible_record(RecordFacts("overlayfs", False, False, "regular")) == []
    assert {slug for slug, _ in RECORD_CASES} == {slug for slug, _, _ in RECORD_RULES}


def test_the_kind_is_read_from_the_label_of_kubelets_that_set_one() -> None:
    assert kind_by_labels({"io.kubernetes.container.type": "INIT"}) == "init"
    assert kind_by_labels({"io.kubernetes.container.type": "EPHEMERAL"}) == "ephemeral"
    assert kind_by_labels({"io.kubernetes.container.name": "main"}) is None
