"""A Kubernetes manifest as far as it says what its containers will be: read into plain facts.

A Pod, or anything that has a pod template (Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob).
Defaults are Kubernetes'; what the image, the cluster or a reference decides is not guessed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from glowplug.checkpoint.requirements import UNLIMITED
from glowplug.errors import UsageError

Object = Mapping[str, Any]

_GPU = "nvidia.com/gpu"
_SCALES = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate(("K", "M", "G", "T", "P", "E"), 1)},
}
_NOT_VOLUME_SOURCES = frozenset(("name",))
_MOST = 1 << 63  # no quantity and no number of Kubernetes reaches it


@dataclass(frozen=True, slots=True)
class Volume:
    """What is mounted at a place. `type`: the volume's field (configMap, emptyDir, …); `path`: a hostPath's."""

    type: str
    path: str
    has_sub_path: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """One container of a manifest. None: the image or a reference decides. Bytes, thousandths of a CPU.

    `env`: variables whose value stands there; `untold_env`: those whose value does not; `has_env_from`: more
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
    untold_env: tuple[str, ...]
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


def read(objects: list[object], namespace: str | None) -> list[Wanted]:
    """The containers of every pod described, init containers left out. Raises UsageError.

    `namespace`: for objects that name none; else default, as kubectl has it.
    """
    found = [
        wanted for one in objects if one is not None for wanted in _of_object(one, namespace or "default")
    ]
    if not found:
        raise UsageError("wanted a manifest with a pod in it, found no container")
    return found


def _of_object(one: object, namespace: str, in_list: bool = False) -> Iterator[Wanted]:
    document = _table(one, "a manifest")
    kind = _text(document.get("kind"), "kind")
    if kind == "List" and not in_list:
        for item in _list(document.get("items"), "items"):
            yield from _of_object(item, namespace, in_list=True)
        return
    metadata, spec = _table(document.get("metadata"), "metadata"), _table(document.get("spec"), "spec")
    namespace = _text(metadata.get("namespace"), "namespace") or namespace
    name = _text(metadata.get("name"), "name") if kind == "Pod" else ""
    if kind == "CronJob":
        spec = _table(_table(spec.get("jobTemplate"), "jobTemplate").get("spec"), "jobTemplate.spec")
    if kind != "Pod":
        template = spec.get("template")
        if not isinstance(template, Mapping):
            raise UsageError(
                f"wanted a Pod, an object with a pod template, or an OCI config.json, found kind {kind[:40]!r}"
            )
        metadata, spec = _table(template.get("metadata"), "metadata"), _table(template.get("spec"), "spec")
    for container in _list(spec.get("containers"), "containers"):
        yield _container(namespace, name, metadata, spec, _table(container, "a container"))


def _container(namespace: str, pod: str, metadata: Object, spec: Object, container: Object) -> Wanted:
    env = [_table(entry, "env") for entry in _list(container.get("env"), "env")]
    told = {
        _text(entry.get("name"), "env"): _text(entry.get("value"), "env")
        for entry in env
        if "valueFrom" not in entry
    }
    expanded = {name for name, value in told.items() if "$(" in value}
    own, shared = (_table(one.get("securityContext"), "securityContext") for one in (container, spec))
    limits = _table(_table(container.get("resources"), "resources").get("limits"), "limits")
    uid = own.get("runAsUser", shared.get("runAsUser"))
    return Wanted(
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
        env={name: value for name, value in told.items() if name not in expanded},
        untold_env=tuple(
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
    digits = text.rstrip("kKMGTPEim") if not text[-1:].isdigit() else text
    try:
        found = Decimal(digits) * _SCALES[text[len(digits) :]] * scale
        if 0 <= found < _MOST:
            return int(found)
    except (ArithmeticError, KeyError):
        pass
    raise UsageError(f"wanted a quantity such as 500m or 8Gi, found {text[:40]!r}")


def _table(value: object, what: str) -> Object:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(f"{what}: wanted an object, found {type(value).__name__}")
    return value


def _list(value: object, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise UsageError(f"{what}: wanted a list, found {type(value).__name__}")
    return value


def _texts(value: object, what: str) -> tuple[str, ...] | None:
    listed = _list(value, what)
    return tuple(_text(item, what) for item in listed) if listed else None


def _text(value: object, what: str) -> str:
    """As YAML says it; "" where there is nothing. Raises UsageError: a list, say, or no number of Kubernetes."""
    if value is None:
        return ""
    if isinstance(value, Mapping | list) or (isinstance(value, int) and abs(value) >= _MOST):
        raise UsageError(f"{what}: wanted text, found {type(value).__name__}")
    return str(value)
