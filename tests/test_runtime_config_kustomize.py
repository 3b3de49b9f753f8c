"""Kustomize's files: complete, valid, equal to the chart, and what kubectl makes of them is what they say."""

import json
import os
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from tests import kubernetes_made, test_runtime_config_helm

ROOT = f"{test_runtime_config_helm.REPOSITORY}/runtime_config"
INSTALLER = ("DaemonSet", "glowplug-installer")


def read(path: str) -> Any:
    with open(f"{ROOT}/{path}") as file:
        return yaml.safe_load(file)


def resources(folder: str) -> list[kubernetes_made.Object]:
    """Of a kustomization and those that it builds on, before its changes."""
    found: list[kubernetes_made.Object] = []
    for name in read(f"{folder}/kustomization.yaml")["resources"]:
        path = os.path.normpath(f"{folder}/{name}")
        if os.path.isdir(f"{ROOT}/{path}"):
            found += resources(path)
        else:
            with open(f"{ROOT}/{path}") as file:
                found += kubernetes_made.objects(file.read())
    return found


def built(folder: str) -> list[kubernetes_made.Object]:
    """As `kubectl kustomize` makes it."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("there is no kubectl")
    done = subprocess.run(
        [kubectl, "kustomize", f"{ROOT}/{folder}"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return kubernetes_made.objects(done.stdout)


def test_every_resource_is_there_and_valid() -> None:
    found = kubernetes_made.by_name(resources("kustomize/base"))
    assert {("Namespace", "glowplug-system"), INSTALLER, ("RuntimeClass", "glowplug")} <= set(found)
    assert {kind for kind, _ in found} >= {
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "ConfigMap",
    }
    kubernetes_made.check(found.values())


FOLDERS = [
    *(f"kustomize/{name}" for name in ("base", "uninstall", "registry", "namespace-ended")),
    "runtimeclass",
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_kustomization_is_one(folder: str) -> None:
    found = read(f"{folder}/kustomization.yaml")
    assert (found["apiVersion"], found["kind"]) == ("kustomize.config.k8s.io/v1beta1", "Kustomization")
    known = {"apiVersion", "kind", "resources", "namespace", "images", "patches"}
    assert set(found) <= known


@pytest.mark.parametrize("folder", ["kustomize/registry", "kustomize/namespace-ended"])
def test_what_a_registry_needs_is_valid(folder: str) -> None:
    kubernetes_made.check(resources(folder))


def test_the_registry_s_files_say_what_the_chart_says() -> None:
    values = {
        "registry": {"secrets": ["glowplug-registry"], "warm": ["-n", "models", "--label", "app=llama"]}
    }
    made = kubernetes_made.by_name(test_runtime_config_helm.made(values))
    found = kubernetes_made.by_name(resources("kustomize/registry"))
    warm, theirs = found["DaemonSet", "glowplug-warm"], made["DaemonSet", "glowplug-warm"]
    pod, their_pod = warm["spec"]["template"]["spec"], theirs["spec"]["template"]["spec"]
    assert pod["initContainers"][0]["args"] == their_pod["initContainers"][0]["args"]
    for one in (
        *pod["initContainers"],
        *pod["containers"],
        *their_pod["initContainers"],
        *their_pod["containers"],
    ):
        one.pop("image")
    assert warm["spec"] == theirs["spec"]
    assert (
        found["ClusterRole", "glowplug-registry"]["rules"]
        == made["ClusterRole", "glowplug-agent"]["rules"][-1:]
    )


def test_patches_hit_what_is_there() -> None:
    installer = kubernetes_made.by_name(resources("kustomize/base"))[INSTALLER]
    for folder in ("uninstall", "registry"):
        for patch in read(f"kustomize/{folder}/kustomization.yaml")["patches"]:
            assert (patch["target"]["kind"], patch["target"]["name"]) == INSTALLER
            for change in yaml.safe_load(patch["patch"]):
                at: Any = installer
                for step in change["path"].strip("/").removesuffix("/-").split("/"):
                    at = at[int(step)] if isinstance(at, list) else at[step]


@pytest.mark.parametrize(
    ("folder", "values"), [("kustomize/base", {}), ("kustomize/uninstall", {"action": "uninstall"})]
)
def test_it_makes_what_the_chart_makes(folder: str, values: dict[str, Any]) -> None:
    found = kubernetes_made.by_name(built(folder))
    kubernetes_made.check(found.values())
    assert found.pop(("Namespace", "glowplug-system"))
    # The class, too, while nodes are uninstalled: without it no pod of it can be made on those that still have it.
    assert found == kubernetes_made.by_name(test_runtime_config_helm.made(values))


def test_the_runtime_class_names_our_handler_and_what_a_pod_costs() -> None:
    found = read("runtimeclass/runtimeclass.yaml")
    assert found["handler"] == "glowplug"
    assert found["overhead"] == {"podFixed": {"memory": "2Mi"}}


def test_nothing_but_the_installer_is_privileged_and_only_on_nodes_that_were_chosen() -> None:
    spec = read("kustomize/base/daemonset.yaml")["spec"]["template"]["spec"]
    assert spec["nodeSelector"]["glowplug.dev/install"] == "true"
    assert spec["automountServiceAccountToken"] is False
    assert ["hostPath" in volume for volume in spec["volumes"]] == [False, False]
    assert json.dumps(spec).count('"hostNetwork"') == 0
