"""A manifest's container compared with a checkpoint before there is a container: what differs, what is undetermined.

Never a match: the image's layers, mounted files, variables by reference and the node's state at that moment
are known at the start only. What the manifest does say is compared by the core's own key and tables.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from glowplug.checkpoint import bundle, differences, eligible, key, mounts, requirements
from glowplug.checkpoint.manifest import Manifest
from glowplug.checkpoint.noise import SandboxFacts
from glowplug.checkpoint.reason import UNKNOWN, Reason
from glowplug.checkpoint.requirements import ContainerResources, HostFacts
from glowplug.explain.pod_manifest import ManifestContainer, Volume

RUNTIME_CLASS = "glowplug"

_ANY = "0" * 64  # of a sandbox that is not there yet
_POD = "io.kubernetes.cri."

# A volume's field in the manifest → what the core calls such a mount (checkpoint/mounts.py).
_HOWS: dict[str, tuple[str, ...]] = {
    "configMap": (mounts.CONTENT,),
    "secret": (mounts.CONTENT,),
    "projected": (mounts.CONTENT, mounts.SERVICE_ACCOUNT),
    "downwardAPI": (mounts.CONTENT,),
    "emptyDir": ("empty-dir",),
    "hostPath": ("source",),
    "image": ("image",),
}
_OTHER_HOWS = ("volume", mounts.BACKING)  # persistent volumes and network file systems
_FROM_A_MANIFEST = frozenset(
    (mounts.CONTENT, mounts.BACKING, mounts.CONTENT_OR_BACKING, "empty-dir", "source", "volume", "image")
)


@dataclass(frozen=True, slots=True)
class Preflight:
    """Reasons that apply already, and in `undetermined` what is known at the start only."""

    reasons: tuple[Reason, ...]
    undetermined: tuple[str, ...]


def against(wanted: ManifestContainer) -> list[tuple[str, str]]:
    """(slug, sentence) of every rule that the container will break, whatever checkpoint there is."""
    found = list(eligible.ineligible(_bundle(wanted)))
    if "network" in wanted.host and "host-network" not in dict(found):
        found.append(("host-network", "the pod is in the host's network, where its ports may be taken"))
    if not wanted.runtime_class:
        found.append(("runtime-class", f"the pod does not ask for it (runtimeClassName: {RUNTIME_CLASS})"))
    return found


def compare(
    kept: Manifest, wanted: ManifestContainer, host: HostFacts, salt: bytes, sandbox: SandboxFacts
) -> Preflight:
    """One checkpoint for one container of a manifest, on this node."""
    own = key.workload_key(_bundle(wanted), "", sandbox, {}, salt).parts
    parts = copy.deepcopy(kept.key.parts)
    parts["salt"], parts["settings"], parts["rules"] = own["salt"], own["settings"], own["rules"]
    undetermined = [
        *_image(kept, wanted),
        *_expect_args(parts, own, wanted),
        *_expect_env(parts, own, wanted),
    ]
    undetermined += _expect_mounts(parts, wanted)
    if wanted.runtime_class not in ("", RUNTIME_CLASS):
        undetermined.append(f"whether the RuntimeClass {wanted.runtime_class} has Glowplug's handler")
    if wanted.working_dir is not None:
        parts["cwd"] = wanted.working_dir
    if wanted.uid is not None and isinstance(parts.get("user"), dict):
        parts["user"] = {**_table(parts["user"]), "uid": wanted.uid}
    reported = differences.differences(kept.key.parts, key.WorkloadKey("of what is reported", parts))
    image = [] if _name(kept.image_name) == _name(wanted.image) else [_other_image(kept, wanted)]
    needs = requirements.compare(kept.requirements, _row(kept, wanted, host))
    undetermined += [reason.part for reason in needs if reason.has == UNKNOWN]
    known = [reason for reason in needs if reason.has != UNKNOWN]
    return Preflight((*image, *reported, *known), tuple(undetermined))


def _bundle(wanted: ManifestContainer) -> bundle.BundleFacts:
    """The part of a config.json that the manifest decides."""
    joined = {"network": f"/proc/{_ANY}/ns/net", "ipc": f"/proc/{_ANY}/ns/ipc", "uts": f"/proc/{_ANY}/ns/uts"}
    types = [type for type in ("pid", "network", "ipc", "uts", "mount") if type not in wanted.host]
    types += ["user"] if wanted.user_namespace else []
    args = [*(wanted.command or ("",)), *(wanted.args or ())]
    return bundle.read(
        {
            "process": {
                "args": args,
                "env": [f"{name}={value}" for name, value in wanted.env.items()],
                "terminal": wanted.terminal,
            },
            "annotations": {
                f"{_POD}container-type": "container",
                f"{_POD}container-name": wanted.container,
                f"{_POD}sandbox-id": _ANY,
                f"{_POD}sandbox-name": wanted.pod,
                f"{_POD}sandbox-namespace": wanted.namespace,
                **wanted.annotations,
            },
            "linux": {"namespaces": [{"type": type, "path": joined.get(type, "")} for type in types]},
        }
    )


def _row(kept: Manifest, wanted: ManifestContainer, host: HostFacts) -> requirements.HostRequirements:
    """This node with the manifest's limits; of GPUs their number, the rest is in no manifest."""
    row = requirements.require(host, ContainerResources(wanted.memory_limit, wanted.cpu_limit, None, None))
    libraries = () if wanted.gpus == 0 else None
    return replace(row, gpu_count=wanted.gpus, cuda_libraries=libraries)


def _image(kept: Manifest, wanted: ManifestContainer) -> Iterator[str]:
    if _name(kept.image_name) == _name(wanted.image):
        yield "the image's layers (its name is the same, and says little)"


def _other_image(kept: Manifest, wanted: ManifestContainer) -> Reason:
    return Reason("image name", _name(kept.image_name) or UNKNOWN, _name(wanted.image) or "none", "image")


def _name(image: str) -> str:
    """With the registry and tag that are meant where there is none, as containerd writes it."""
    if not image:
        return ""
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif "." not in first and ":" not in first and first != "localhost":
        image = f"docker.io/{image}"
    last = image.rpartition("/")[2]
    return image if ":" in last or "@" in last else f"{image}:latest"


def _expect_args(parts: key.Parts, own: key.Parts, wanted: ManifestContainer) -> Iterator[str]:
    """With a command all of them are in the manifest; without one the image's entrypoint comes first."""
    captured, own_args = parts.get("args"), own["args"]
    if not isinstance(captured, list) or not isinstance(own_args, list):
        return
    if wanted.command is None:
        own_args = own_args[1:]
        yield "the image's entrypoint" if own_args else "the image's command"
        if not own_args:
            return
        own_args = [*captured[: max(0, len(captured) - len(own_args))], *own_args]
    literal = [*(wanted.command or ()), *(wanted.args or ())]
    if any("$(" in word for word in literal):
        yield "arguments with a variable"
        first = len(own_args) - len(literal)
        own_args = [
            captured[index]
            if index >= first and "$(" in literal[index - first] and index < len(captured)
            else one
            for index, one in enumerate(own_args)
        ]
    parts["args"] = own_args


def _expect_env(parts: key.Parts, own: key.Parts, wanted: ManifestContainer) -> Iterator[str]:
    captured, own_env = _table(parts.get("env")), _table(own["env"])
    # A placeholder stands for a fact of the pod, which a manifest can't contain.
    reported = {
        name: value for name, value in own_env.items() if not str(captured.get(name, "")).startswith("<")
    }
    parts["env"] = {**captured, **reported}
    by_reference = [name for name in wanted.undetermined_env if name in captured]
    missing = [name for name in wanted.undetermined_env if name not in captured]
    if by_reference:
        yield f"variables by reference: {', '.join(by_reference)}"
    for name in missing:
        parts["env"] = {**_table(parts["env"]), name: "by reference"}
    if wanted.has_env_from:
        yield "variables of envFrom"
    others = sorted(
        name
        for name, value in captured.items()
        if name not in own_env and name not in wanted.undetermined_env and not str(value).startswith("<")
    )
    if others:
        yield f"variables that must come from the image: {', '.join(others)}"


def _expect_mounts(parts: key.Parts, wanted: ManifestContainer) -> Iterator[str]:
    captured = _table(parts.get("mounts"))
    expected = {
        place: mount
        for place, mount in captured.items()
        if place in wanted.volumes or _table(mount).get("how") not in _FROM_A_MANIFEST
    }
    for place, volume in wanted.volumes.items():
        mount = _table(captured.get(place))
        if mount and _fits(mount, volume):
            if mount.get("kind") == mounts.IDENTITY and volume.type != "hostPath":
                yield f"what is mounted at {place}"
        else:
            expected[place] = {"kind": "a", "how": "source", "value": f"volume {volume.type}", "options": []}
    parts["mounts"] = expected


def _fits(mount: dict[str, Any], volume: Volume) -> bool:
    if volume.has_sub_path:
        return mount.get("how") == mounts.CONTENT_OR_BACKING
    if volume.type == "hostPath" and not volume.has_sub_path:
        return mount.get("how") == "source" and mount.get("value") == volume.path.rstrip("/")
    return mount.get("how") in _HOWS.get(volume.type, _OTHER_HOWS)


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
