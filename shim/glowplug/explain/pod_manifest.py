"""A Kubernetes manifest as far as it says what its containers will be: read into plain facts.

A Pod, or anything with a pod template in it, wherever that is: a Deployment, a CronJob, a LeaderWorkerSet. What has
none (a Service, a ConfigMap) is left out, and reported. Defaults are Kubernetes'; what the image, the cluster or a
reference decides is not guessed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import Any

from glowplug.checkpoint.requirements import UNLIMITED
from glowplug.errors import UsageError

Object = Mapping[str, Any]

_GPU = "nvidia.com/gpu"
_SCALES = {
    **{
        unit: Decimal(1000) ** power
        for power, unit in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)
    },
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate(("K", "M", "G", "T", "P", "E"), 1)},
}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?)([num]|[kMGTPE]|[KMGTPE]i)?")
"""resource.Quantity: a number with an exponent, or with a suffix."""

_NOT_VOLUME_SOURCES = frozenset(("name",))
_DEEPEST = 60
_MOST = 1 << 63  # no quantity and no number of Kubernetes reaches it


@dataclass(frozen=True, slots=True)
class Volume:
    """What is mounted at a place. `type`: the volume's field (configMap, emptyDir, …); `path`: a hostPath's."""

    type: str
    path: str
    has_sub_path: bool


@dataclass(frozen=True, slots=True)
class ManifestContainer:
    """One container of a manifest. None: the image or a reference decides. Bytes, thousandths of a CPU.

    `env`: variables whose value is there; `undetermined_env`: those whose value is not; `has_env_from`: more
    come from ConfigMaps or Secrets. `host`: namespaces that the pod shares with the node. Values may be
    secret: never shown.
    """

    namespace: str
    pod: str
    container: str
    image: str
    annotations: Mapping[str, str]
    runtime_class: str
    command: tuple[str, ...] | None = field(repr=False)
    args: tuple[str, ...] | None = field(repr=False)
    env: Mapping[str, str] = field(repr=False)
    undetermined_env: tuple[str, ...]
    has_env_from: bool
    working_dir: str | None
    uid: int | None
    memory_limit: int
    cpu_limit: int
    gpus: int
    volumes: Mapping[str, Volume]
    host: frozenset[str]
    user_namespace: bool
    terminal: bool


def read(objects: list[object], namespace: str | None) -> tuple[list[ManifestContainer], list[str]]:
    """The containers of every pod described, init containers left out; and `Kind name` of what has no pod in it.

    `namespace`: for objects that name none; else default, as kubectl has it. Raises UsageError.
    """
    found, left_out = [], []
    for one in objects:
        for document in _objects(one) if one is not None else ():
            containers = list(_of_object(document, namespace or "default"))
            found += containers
            if not containers:
                left_out.append(_called(document))
    if not found:
        names = ", ".join(left_out[:5]) or "nothing"
        raise UsageError(
            f"no pod in it: expected a Pod, an object with a pod template, or an OCI config.json, got {names}"
        )
    return found, left_out


def _called(document: Object) -> str:
    """Kind and name, as a person finds it again."""
    name = _text(_table(document.get("metadata"), "metadata").get("name"), "name")
    return f"{_text(document.get('kind'), 'kind') or 'an object'} {name}".strip()[:100]


def _require_shallow(depth: int) -> None:
    """YAML's aliases can put a thing into itself."""
    if depth > _DEEPEST:
        raise UsageError(
            f"the manifest is nested more than {_DEEPEST} levels deep, as no Kubernetes object is"
        )


def _objects(one: object, depth: int = 0) -> Iterator[Object]:
    """The object, or those of a list (`kubectl get -o yaml` prints a List; a chart may nest them)."""
    _require_shallow(depth)
    document = _table(one, "a manifest")
    if _text(document.get("kind"), "kind").endswith("List") and "items" in document:
        for item in _list(document.get("items"), "items"):
            yield from _objects(item, depth + 1)
    else:
        yield document


def _of_object(document: Object, namespace: str) -> Iterator[ManifestContainer]:
    metadata = _table(document.get("metadata"), "metadata")
    namespace = _text(metadata.get("namespace"), "namespace") or namespace
    if document.get("kind") == "Pod":
        pods = [(_text(metadata.get("name"), "name"), document)]
    else:
        pods = [("", template) for template in _templates(document.get("spec"))]
    for name, pod in pods:
        metadata, spec = _table(pod.get("metadata"), "metadata"), _table(pod.get("spec"), "spec")
        for container in _list(spec.get("containers"), "containers"):
            yield _container(namespace, name, metadata, spec, _table(container, "a container"))


def _templates(value: object, depth: int = 0) -> Iterator[Object]:
    """Every pod template below: what has a spec with a list of containers that have names."""
    _require_shallow(depth)
    if isinstance(value, list):
        for one in value:
            yield from _templates(one, depth + 1)
    elif isinstance(value, Mapping):
        spec = value.get("spec")
        if isinstance(spec, Mapping) and _are_containers(spec.get("containers")):
            yield value
            return
        for one in value.values():
            yield from _templates(one, depth + 1)


def _are_containers(value: object) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(one, Mapping) and "name" in one for one in value)
        and value != []
    )


def _container(
    namespace: str, pod: str, metadata: Object, spec: Object, container: Object
) -> ManifestContainer:
    env = [_table(entry, "env") for entry in _list(container.get("env"), "env")]
    reported = {
        _text(entry.get("name"), "env"): _text(entry.get("value"), "env")
        for entry in env
        if "valueFrom" not in entry
    }
    expanded = {name for name, value in reported.items() if "$(" in value}
    own, shared = (_table(one.get("securityContext"), "securityContext") for one in (container, spec))
    limits = {**_limits(spec), **_limits(container)}  # the pod's own apply where a container has none
    uid = own.get("runAsUser", shared.get("runAsUser"))
    return ManifestContainer(
        namespace=namespace,
        pod=pod,
        container=_text(container.get("name"), "name"),
        image=_text(container.get("image"), "image"),
        annotations={
            _text(name, "annotations"): _text(value, "annotations")
            for name, value in _table(metadata.get("annotations"), "annotations").items()
        },
        runtime_class=_text(spec.get("runtimeClassName"), "runtimeClassName"),
        command=_texts(container.get("command"), "command"),
        args=_texts(container.get("args"), "args"),
        env={name: value for name, value in reported.items() if name not in expanded},
        undetermined_env=tuple(
            sorted(expanded | {_text(entry.get("name"), "env") for entry in env if "valueFrom" in entry})
        ),
        has_env_from=bool(container.get("envFrom")),
        working_dir=_text(container.get("workingDir"), "workingDir") or None,
        uid=uid if isinstance(uid, int) else None,
        memory_limit=_quantity(limits.get("memory"), 1),
        cpu_limit=_quantity(limits.get("cpu"), 1000),
        gpus=max(0, _quantity(limits.get(_GPU), 1)),
        volumes=_volumes(spec, container),
        host=frozenset(_host_namespaces(spec)),
        user_namespace=spec.get("hostUsers") is False,
        terminal=container.get("tty") is True,
    )


def _limits(object: Object) -> Object:
    return _table(_table(object.get("resources"), "resources").get("limits"), "limits")


def _host_namespaces(spec: Object) -> Iterator[str]:
    """Namespace types that the container does not have for itself or its pod; a shared PID one counts too."""
    for field_name, type in (("hostNetwork", "network"), ("hostPID", "pid"), ("hostIPC", "ipc")):
        if spec.get(field_name) is True:
            yield type
    if spec.get("shareProcessNamespace") is True:
        yield "pid"


def _volumes(spec: Object, container: Object) -> dict[str, Volume]:
    sources = {}
    for entry in _list(spec.get("volumes"), "volumes"):
        volume = _table(entry, "a volume")
        type = next((str(name) for name in volume if name not in _NOT_VOLUME_SOURCES), "emptyDir")
        path = _text(_table(volume.get(type), type).get("path"), "path") if type == "hostPath" else ""
        sources[_text(volume.get("name"), "name")] = (type, path)
    found = {}
    for entry in _list(container.get("volumeMounts"), "volumeMounts"):
        mount = _table(entry, "a volume mount")
        type, path = sources.get(_text(mount.get("name"), "name"), ("unknown", ""))
        place = _text(mount.get("mountPath"), "mountPath").rstrip("/") or "/"
        found[place] = Volume(type, path, bool(mount.get("subPath") or mount.get("subPathExpr")))
    return found


def _quantity(value: object, scale: int) -> int:
    """A Kubernetes quantity ("500m", "8Gi") times scale; UNLIMITED where there is none. Raises UsageError."""
    if value is None:
        return UNLIMITED
    text = _text(value, "a quantity")
    parts = _QUANTITY.fullmatch(text)
    if parts is not None:
        found = (Decimal(parts[1]) * _SCALES[parts[2] or ""] * scale).to_integral_value(ROUND_CEILING)
        if 0 <= found < _MOST:
            return int(found)
    raise UsageError(f"expected a quantity such as 500m or 8Gi, got {text[:40]!r}")


def _table(value: object, what: str) -> Object:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(f"{what}: expected an object, got {type(value).__name__}")
    return value


def _list(value: object, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise UsageError(f"{what}: expected a list, got {type(value).__name__}")
    return value


def _texts(value: object, what: str) -> tuple[str, ...] | None:
    listed = _list(value, what)
    return tuple(_text(item, what) for item in listed) if listed else None


def _text(value: object, what: str) -> str:
    """As YAML says it; "" where there is nothing. Raises UsageError: a list, say, or no number of Kubernetes."""
    if value is None:
        return ""
    if isinstance(value, Mapping | list) or (isinstance(value, int) and abs(value) >= _MOST):
        raise UsageError(f"{what}: expected text, got {type(value).__name__}")
    return str(value)
