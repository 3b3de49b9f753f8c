"""The example pods: valid, understood by Glowplug as they are meant, and the Job warms what the pod starts from."""

import os
from typing import Any

import pytest
import yaml
from tests import kubernetes_made

from glowplug.capture import policy
from glowplug.checkpoint import bundle
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.settings import NEUTRAL, PER_CONTAINER
from glowplug.explain import pod_manifest
from glowplug.explain.pod_manifest import ManifestContainer

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "docs", "examples")
KNOWN = {name.removeprefix("glowplug.dev/") for name in NEUTRAL} | PER_CONTAINER
PODS = ("pod-cpu.yaml", "pod-vllm.yaml", "job-warm-up.yaml")


def read(name: str) -> list[Any]:
    with open(f"{EXAMPLES}/{name}") as file:
        return kubernetes_made.objects(file.read())


def wanted(name: str) -> ManifestContainer:
    """The example's container, as `glowplug explain --spec` understands it."""
    (found,), _ = pod_manifest.read(read(name), None)
    return found


def facts(name: str) -> BundleFacts:
    """The container's bundle, as far as captures look at it: containerd hands pods' annotations on."""
    found = wanted(name)
    node = {"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0}
    return bundle.read(
        {
            "ociVersion": "1.0.2",
            "annotations": {
                **found.annotations,
                "io.kubernetes.cri.container-type": "container",
                "io.kubernetes.cri.container-name": found.container,
            },
            "linux": {"devices": [node] * found.gpus},
        }
    )


@pytest.mark.parametrize("name", sorted(os.listdir(EXAMPLES)))
def test_each_is_valid(name: str) -> None:
    found = read(name)
    assert found
    kubernetes_made.check(found)


@pytest.mark.parametrize("name", PODS)
def test_each_runs_under_the_handler_and_is_captured_when_it_is_ready(name: str) -> None:
    assert wanted(name).runtime_class == "glowplug"
    found = policy.of(facts(name), "never")
    assert found.when in ("ready", "once-and-exit")
    assert found.ready is not None
    assert found.ready.kind == "http" and found.ready.port == 8000
    assert policy.is_chosen(facts(name), "gpu")


@pytest.mark.parametrize("name", PODS)
def test_every_annotation_is_one_that_glowplug_knows(name: str) -> None:
    ours = [key for key in wanted(name).annotations if key.startswith("glowplug.dev/")]
    assert ours
    assert {key.removeprefix("glowplug.dev/") for key in ours} <= KNOWN


def test_the_model_server_sleeps_for_the_capture_and_is_woken() -> None:
    for name in ("pod-vllm.yaml", "job-warm-up.yaml"):
        found = policy.of(facts(name), "never")
        hooks = (found.before_capture, found.after_capture, found.after_restore)
        assert [hook.steps[0].path if hook else None for hook in hooks] == [
            "/sleep?level=1",
            "/wake_up",
            "/wake_up",
        ]
        assert "--enable-sleep-mode" in (wanted(name).args or ())
        assert wanted(name).env["VLLM_SERVER_DEV_MODE"] == "1"
        assert wanted(name).gpus == 1


def test_the_job_warms_what_the_pod_starts_from() -> None:
    pod, job = read("pod-vllm.yaml")[0]["spec"], read("job-warm-up.yaml")[0]["spec"]["template"]["spec"]
    reported = ("name", "image", "args", "env", "resources", "volumeMounts", "ports")
    assert [{key: one[key] for key in reported} for one in pod["containers"]] == job["containers"]
    same = ("runtimeClassName", "enableServiceLinks", "automountServiceAccountToken", "volumes")
    assert {key: pod[key] for key in same} == {key: job[key] for key in same}
    assert policy.of(facts("job-warm-up.yaml"), "never").when == "once-and-exit"


def test_the_runtime_class_is_the_one_that_nodes_get() -> None:
    with open(f"{EXAMPLES}/../../runtime_config/runtimeclass/runtimeclass.yaml") as file:
        installed = yaml.safe_load(file)
    # A label that the agent's life changed would end running pods when their kubelet starts again.
    assert installed.pop("scheduling") == {"nodeSelector": {"glowplug.dev/handler": "true"}}
    assert [installed] == read("runtimeclass.yaml")
