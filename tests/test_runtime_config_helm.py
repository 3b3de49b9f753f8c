"""The Helm chart: what it makes is valid, says what Kustomize's files say, and refuses values that make no sense."""

import copy
import json
import os
from typing import Any

import jsonschema
import pytest
import yaml
from tests import kubernetes_made

from glowplug import __version__

helm = pytest.importorskip("helm_python.chart", reason="Helm's library has no wheel for this machine")

REPOSITORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
CHART = f"{REPOSITORY}/runtime_config/helm/glowplug"
RELEASE = {"Name": "demo", "Namespace": "glowplug-system"}

VALUES: list[dict[str, Any]] = [
    {},
    {"action": "uninstall"},
    {"image": {"repository": "registry.example.com:5000/gp", "tag": "7", "pullSecrets": [{"name": "key"}]}},
    {"tolerations": [], "priorityClassName": "", "maxUnavailable": "10%"},
    {"runtimeClass": {"name": "fast", "nodeSelector": {"pool": "on"}}},
    {"runtimeClass": {"create": False}},
    {
        "config": {"mode": "observe", "cache_limit_bytes": 100000000000, "registry": {"repository": "x/y"}},
        "registry": {
            "nodeSecret": "glowplug-registry",
            "secrets": ["glowplug-registry", "login"],
            "warm": ["-n", "models"],
        },
        "installArgs": ["--base", "nvidia"],
    },
]


def read(name: str) -> Any:
    with open(f"{CHART}/{name}") as file:
        return yaml.safe_load(file)


def merged(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """As Helm merges values: tables key by key, anything else as it is."""
    found = copy.deepcopy(base)
    for key, value in other.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = merged(found[key], value) if both else value
    return found


def rendered(values: dict[str, Any]) -> dict[str, str]:
    """Template → what Helm's own library makes of these values."""
    with helm.Chart.load(CHART) as loaded:
        found = loaded.render(values=values, name=RELEASE["Name"], namespace=RELEASE["Namespace"])
    return {os.path.basename(path): text for path, text in found.items()}


def made(values: dict[str, Any]) -> list[kubernetes_made.Object]:
    return [
        one
        for name, text in rendered(values).items()
        if name.endswith(".yaml")
        for one in kubernetes_made.objects(text)
    ]


@pytest.mark.parametrize("values", VALUES)
def test_what_it_makes_is_valid(values: dict[str, Any]) -> None:
    jsonschema.validate(merged(read("values.yaml"), values), read("values.schema.json"))
    found = made(values)
    assert ("DaemonSet", "glowplug-installer") in kubernetes_made.by_name(found)
    kubernetes_made.check(found)


def test_values_reach_what_they_name() -> None:
    found = kubernetes_made.by_name(made(VALUES[2]))[("DaemonSet", "glowplug-installer")]
    pod = found["spec"]["template"]["spec"]
    images = {one["image"] for one in [*pod["containers"], *pod["initContainers"]]}
    assert images == {"registry.example.com:5000/gp:7"}
    assert pod["imagePullSecrets"] == [{"name": "key"}]
    found = kubernetes_made.by_name(made(VALUES[3]))[("DaemonSet", "glowplug-installer")]
    assert {"tolerations", "priorityClassName"} & set(found["spec"]["template"]["spec"]) == set()
    assert found["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == "10%"
    made_class = kubernetes_made.by_name(made(VALUES[4]))[("RuntimeClass", "fast")]
    assert made_class["scheduling"]["nodeSelector"] == {"glowplug.dev/handler": "true", "pool": "on"}
    assert "RuntimeClass" not in [kind for kind, _ in kubernetes_made.by_name(made(VALUES[5]))]
    installed = kubernetes_made.by_name(made(VALUES[6]))
    config = installed[("ConfigMap", "glowplug-config")]["data"]["config.json"]
    assert json.loads(config) == VALUES[6]["config"]
    pod = installed[("DaemonSet", "glowplug-installer")]["spec"]["template"]["spec"]
    assert pod["initContainers"][0]["args"] == ["install", "--base", "nvidia"]


def test_the_release_is_of_this_version() -> None:
    assert (read("Chart.yaml")["version"], read("Chart.yaml")["appVersion"]) == (__version__, __version__)


@pytest.mark.parametrize(
    "values",
    [
        {"action": "remove"},
        {"imag": {}},
        {"image": {"repository": ""}},
        {"image": {"pullPolicy": "Sometimes"}},
        {"runtimeClass": {"name": "Two Words"}},
        {"nodeSelector": {"a": True}},
    ],
)
def test_values_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(merged(read("values.yaml"), values), read("values.schema.json"))


def test_helm_itself_finds_nothing_wrong() -> None:
    report = helm.lint(CHART, strict=True)
    assert report["errors"] == []
    assert [one for one in report["messages"] if one["severity"] > 1] == []


def test_the_schema_is_one() -> None:
    with open(f"{CHART}/values.schema.json") as file:
        jsonschema.Draft7Validator.check_schema(json.load(file))
