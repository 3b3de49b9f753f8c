"""The workload key: a hash of what the process is, with every part kept, so that a difference can be named.

`PARTS` is the whole of it, in the order in which differences are told. A part's value is JSON, and holds
names and public facts as they are; what may be a secret (the value of a variable, an argument, the content of
a mounted file) only as a keyed hash, whose key is the node's or cluster's salt. Order that means nothing is
sorted away; noise is replaced by placeholders (`noise`); what is ignored on request stays, by name.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from glowplug.checkpoint import mounts, noise
from glowplug.checkpoint.bundle import OWN_ANNOTATIONS, BundleFacts
from glowplug.checkpoint.noise import SandboxFacts
from glowplug.checkpoint.oci import Device

RULES_VERSION = 2  # raised whenever the same bundle would give another key: old checkpoints then miss
SALT_BYTES = 16  # the least

IGNORE_ENV = OWN_ANNOTATIONS + "ignore-env"
# Annotations that say when and whether to capture or restore, and nothing about the process. Any other one
# of ours counts, also one that this version has not heard of.
NEUTRAL_SETTINGS = frozenset(
    OWN_ANNOTATIONS + name
    for name in (
        "after-capture",
        "after-restore",
        "before-capture",
        "capture",
        "containers",
        "engine",
        "hook-timeout",
        "ignore-env",
        "max-pause",
        "outcome",
        "ready",
        "restore",
        "restored-signal",
        "share",
    )
)

SHOWN_SETTINGS = (OWN_ANNOTATIONS + "io-uring", OWN_ANNOTATIONS + "mptcp")  # what a manifest may hold in the open

Value = object  # JSON: text, number, bool, null, list, object
Parts = dict[str, Value]


@dataclass(frozen=True, slots=True)
class WorkloadKey:
    """`digest` is 64 hexadecimal digits, or "" when a part is unknown: such a key is equal to no other.

    `unknown` says which: part name → what could not be told.
    """

    digest: str
    parts: Parts
    unknown: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Asked:
    """All that a part may look at."""

    bundle: BundleFacts
    chain_id: str
    sandbox: SandboxFacts
    answers: Mapping[str, str | None]
    salt: bytes
    stdin: bool | None
    unknown: dict[str, str]

    def keyed(self, *words: str) -> str:
        return keyed(self.salt, *words)


def workload_key(
    bundle: BundleFacts,
    chain_id: str,
    sandbox: SandboxFacts,
    mount_identity: Mapping[str, str | None],
    salt: bytes,
    stdin: bool | None = False,
) -> WorkloadKey:
    """The key of the container that the bundle describes.

    `chain_id` is the snapshot parent of its root file system ("" when not known); `mount_identity` answers
    `mounts.mount_questions` by destination; `salt` is the node's or cluster's secret, SALT_BYTES or more;
    `stdin` is what no config.json says: whether somebody may write to the container's (None: not known).
    """
    if len(salt) < SALT_BYTES:
        raise ValueError(f"a salt has at least {SALT_BYTES} bytes")
    asked = _Asked(bundle, chain_id, sandbox, mount_identity, salt, stdin, {})
    parts = {name: part(asked) for name, part in PARTS.items()}
    return WorkloadKey("" if asked.unknown else digest(parts), parts, asked.unknown)


def shown_settings(bundle: BundleFacts) -> dict[str, str]:
    """The annotations of ours that change the process and hold no secret, for the manifest's `settings`."""
    return {name: value for name, value in sorted(bundle.annotations.items()) if name in SHOWN_SETTINGS}


def digest(parts: Mapping[str, Value]) -> str:
    """The digest of a whole set of parts: 64 hexadecimal digits."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def keyed(salt: bytes, *words: str) -> str:
    """A keyed hash of words that may be secret: 32 hexadecimal digits."""
    text = json.dumps(words)  # ASCII, and one text per list of words
    return hashlib.blake2b(text.encode(), digest_size=16, key=hashlib.sha256(salt).digest()).hexdigest()


def _rules(_: _Asked) -> Value:
    return RULES_VERSION


def _salt(asked: _Asked) -> Value:
    return asked.keyed("salt")[:16]


def _image(asked: _Asked) -> Value:
    if not asked.chain_id:
        asked.unknown["image"] = "the image's chain ID"
    return asked.chain_id


def _args(asked: _Asked) -> Value:
    cleaned = noise.in_args(asked.sandbox, asked.bundle.args)
    return [noise.shown(arg) or asked.keyed("arg", arg) for arg in cleaned]


def _env(asked: _Asked) -> Value:
    values: dict[str, list[str]] = {}
    for entry in asked.bundle.env:
        name, _, value = entry.partition("=")
        values.setdefault(name, []).append(value)
    links = noise.service_links({name: found[0] for name, found in values.items() if len(found) == 1})
    ignored = asked.bundle.annotations.get(IGNORE_ENV, "").replace(",", " ").split()
    return {
        name: "<ignored>"
        if any(fnmatchcase(name, pattern) for pattern in ignored)
        else _one(asked, name, found)
        for name, found in sorted(values.items())
        if name not in links
    }


def _one(asked: _Asked, name: str, values: list[str]) -> str:
    cleaned = [_gpus(name, noise.by_value(asked.sandbox, name, value)) for value in values]
    return (noise.shown(cleaned[0]) if len(cleaned) == 1 else None) or asked.keyed("env", name, *cleaned)


def _gpus(name: str, value: str) -> str:
    """Which GPUs the device plugin gave is noise, how many is not; the products are host requirements."""
    if name != "NVIDIA_VISIBLE_DEVICES" or not _GPU_LIST.fullmatch(value):
        return value
    return f"\0{value.count(',') + 1} GPU\0"


_GPU_LIST = re.compile(r"(GPU-[0-9a-f-]{36}|[0-9]{1,3})(,(GPU-[0-9a-f-]{36}|[0-9]{1,3}))*")


def _stdin(asked: _Asked) -> Value:
    """Whether it is a pipe; else it is /dev/null, and a process that holds that would never hear a word."""
    if asked.stdin is None:
        asked.unknown["stdin"] = "whether the container has one"
    return asked.stdin


def _user(asked: _Asked) -> Value:
    found = asked.bundle
    return {"uid": found.uid, "gid": found.gid, "groups": list(found.gids), "umask": found.umask}


def _capabilities(asked: _Asked) -> Value:
    return {name: list(held) for name, held in asked.bundle.capabilities.items() if held}


def _seccomp(asked: _Asked) -> Value:
    return None if asked.bundle.seccomp is None else _public("seccomp", asked.bundle.seccomp)


def _selinux(asked: _Asked) -> Value:
    """User, role and type; the level behind them is the pod's own category."""
    return ":".join(asked.bundle.selinux.split(":")[:3])


def _rlimits(asked: _Asked) -> Value:
    return {name: list(limits) for name, limits in asked.bundle.rlimits.items()}


def _mounts(asked: _Asked) -> Value:
    found: dict[str, Value] = {}
    for mount in mounts.classify(asked.bundle):
        place, count = mount.destination, 1
        while place in found:  # mounted over: every layer counts
            count += 1
            place = f"{mount.destination} ({count})"
        found[place] = _mount(asked, mount)
    return found


def _mount(asked: _Asked, mount: mounts.Classified) -> Value:
    found = {"kind": mount.kind, "how": mount.how, "value": mount.value, "options": list(mount.options)}
    if mount.kind == mounts.UNKNOWN:
        asked.unknown[f"mount {mount.destination}"] = "what is mounted there"
    if mount.is_question:
        answer = asked.answers.get(mount.destination)
        if not answer:
            asked.unknown[f"mount {mount.destination}"] = f"its {mount.how}"
        found["value"] = asked.keyed("mount", mount.how, answer or "")
        if mount.value is not None:
            found["name"] = mount.value
    return found


def _devices(asked: _Asked) -> Value:
    """Each device node; NVIDIA's GPUs by their number, since any of one product will do."""
    gpus = sum(1 for device in asked.bundle.devices if _GPU_NODE.fullmatch(device.path))
    nodes = {device.path: _device(device.path, device) for device in asked.bundle.devices}
    named = {path: node for path, node in nodes.items() if not _GPU_NODE.fullmatch(path)}
    return {**named, "NVIDIA GPUs": gpus} if gpus else named


def _device(path: str, device: Device) -> Value:
    numbers = None if path.startswith("/dev/nvidia") else [device.major, device.minor]
    return [device.type, numbers, device.rights]


_GPU_NODE = re.compile(r"/dev/nvidia[0-9]+")


def _namespaces(asked: _Asked) -> Value:
    return {type: "joined" if path else "new" for type, path in asked.bundle.namespaces.items()}


def _rootfs(asked: _Asked) -> Value:
    return {"readonly": asked.bundle.rootfs_readonly, "propagation": asked.bundle.rootfs_propagation}


def _hooks(asked: _Asked) -> Value:
    return {
        stage: [asked.keyed("hook", json.dumps(hook, sort_keys=True)) for hook in hooks]
        for stage, hooks in asked.bundle.hooks.items()
    }


def _settings(asked: _Asked) -> Value:
    return {
        name: asked.keyed("setting", name, value)
        for name, value in asked.bundle.annotations.items()
        if not _is_neutral(name)
    }


def _is_neutral(name: str) -> bool:
    """Also where it is one container's own: glowplug.dev/ready.server."""
    setting = name.removeprefix(OWN_ANNOTATIONS).partition(".")[0]
    return OWN_ANNOTATIONS + setting in NEUTRAL_SETTINGS


def _other(asked: _Asked) -> Value:
    return {path: asked.keyed("other", path, value) for path, value in asked.bundle.other.items()}


def _public(what: str, text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16, person=what.encode()).hexdigest()


PARTS: dict[str, Callable[[_Asked], Value]] = {
    "rules": _rules,
    "salt": _salt,
    "image": _image,
    "args": _args,
    "stdin": _stdin,
    "cwd": lambda asked: asked.bundle.cwd,
    "env": _env,
    "user": _user,
    "capabilities": _capabilities,
    "no_new_privileges": lambda asked: asked.bundle.no_new_privileges,
    "seccomp": _seccomp,
    "apparmor": lambda asked: asked.bundle.apparmor,
    "selinux": _selinux,
    "rlimits": _rlimits,
    "mounts": _mounts,
    "devices": _devices,
    "sysctl": lambda asked: dict(asked.bundle.sysctl),
    "namespaces": _namespaces,
    "rootfs": _rootfs,
    "masked_paths": lambda asked: list(asked.bundle.masked_paths),
    "readonly_paths": lambda asked: list(asked.bundle.readonly_paths),
    "hooks": _hooks,
    "settings": _settings,
    "other": _other,
}
