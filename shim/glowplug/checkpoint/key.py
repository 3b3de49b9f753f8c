"""The workload key: a hash of what the process is, with every part kept, so that a difference can be reported.

The rules have numbers, which docs/matching.md lists; each check here and in `noise`, `mounts`, `which_gpu`,
`conditions` cites its own. `PARTS` is the entire key, in the order in which differences are reported. A part's value is
JSON, and holds names and public facts as they are; what may be a secret (the value of a variable, an argument, the
content of a mounted file) only as a keyed hash, whose key is the node's or cluster's salt. Order that means nothing
is sorted away; noise is replaced by placeholders; what is ignored on request stays, by name.

Beside the digest there are `conditions`: facts of which a difference matters in some cases only, so that they can't be
hashed. `conditions.compare` holds theirs against a container's.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from itertools import repeat

from glowplug.checkpoint import mounts, noise, service_links, settings, which_gpu
from glowplug.checkpoint.bundle import OWN_ANNOTATIONS, BundleFacts
from glowplug.checkpoint.noise import SandboxFacts
from glowplug.checkpoint.oci import Device

RULES_VERSION = 5  # raised whenever the same bundle would give another key: old checkpoints then miss
SALT_BYTES = 16  # the least

IGNORE_ENV = OWN_ANNOTATIONS + "ignore-env"
Value = object  # JSON: text, number, bool, null, list, object
Parts = dict[str, Value]


@dataclass(frozen=True, slots=True)
class WorkloadKey:
    """`digest` is 64 hexadecimal digits, or "" when a part is unknown: such a key is equal to no other.

    `unknown` says which: part name → what could not be known. `conditions` belong to the key and not to its digest:
    they are stored with a key.
    """

    digest: str
    parts: Parts
    unknown: dict[str, str] = field(default_factory=dict)
    conditions: Parts = field(default_factory=dict)


@dataclass(frozen=True)
class _Inputs:
    """All that a part may look at."""

    facts: BundleFacts
    chain_id: str
    sandbox: SandboxFacts
    answers: Mapping[str, str | None]
    fillings: Mapping[str, str | None]
    salt: bytes
    stdin: bool | None
    sandbox_sysctl: Mapping[str, str] | None
    extras: Mapping[str, str | None]
    unknown: dict[str, str]

    def keyed(self, *words: str) -> str:
        return keyed(self.salt, *words)

    @cached_property
    def has_nvidia(self) -> bool:
        return which_gpu.has_nvidia(device.path for device in self.facts.devices)

    @cached_property
    def env(self) -> dict[str, str]:
        """Each variable with its value; of one that is set more than once the last, and all are in `repeated`."""
        return {name: value for name, _, value in map(str.partition, self.facts.env, repeat("="))}

    @cached_property
    def repeated(self) -> dict[str, list[str]]:
        """The values of each variable that is set more than once."""
        if len(self.env) == len(self.facts.env):
            return {}
        values: dict[str, list[str]] = {}
        for entry in self.facts.env:
            name, _, value = entry.partition("=")
            values.setdefault(name, []).append(value)
        return {name: several for name, several in values.items() if len(several) > 1}

    @cached_property
    def links(self) -> dict[str, service_links.Group]:
        if not self.repeated:
            return service_links.groups(self.env)
        return service_links.groups(
            {name: value for name, value in self.env.items() if name not in self.repeated}
        )


_NONE: Mapping[str, str] = {}


def workload_key(
    facts: BundleFacts,
    chain_id: str,
    sandbox: SandboxFacts,
    mount_identity: Mapping[str, str | None],
    salt: bytes,
    stdin: bool | None = False,
    *,
    sandbox_sysctl: Mapping[str, str] | None = _NONE,
    extras: Mapping[str, str | None] = _NONE,
    account_uid: str = "",
    namespace_uid: str = "",
    volume_states: Mapping[str, str | None] = _NONE,
    fillings: Mapping[str, str | None] = _NONE,
) -> WorkloadKey:
    """The key of the container that the facts describe.

    `chain_id`: the snapshot parent of its root file system ("" when not known). `mount_identity`: the answers to
    `mounts.mount_questions` by destination. `salt`: the node's or cluster's secret, SALT_BYTES or more. `stdin`: what
    no config.json says, whether somebody may write to the container's (None: not known). `sandbox_sysctl`: those of
    the pod, which are in its sandbox's spec alone (None: not known). `extras`: further facts of content by name,
    such as a digest of the weights (None: not known). `account_uid`, `namespace_uid`: of the service account and the
    Kubernetes namespace ("": nobody says). `volume_states`: the answers to `mounts.state_questions`. `fillings`: of
    emptyDirs that others have filled, with what (None: not known); one that is not in it was empty.
    """
    if len(salt) < SALT_BYTES:
        raise ValueError(f"a salt has at least {SALT_BYTES} bytes")
    if facts.annotations.get(noise.IDENTITY) == noise.INTERCHANGEABLE:
        sandbox = replace(sandbox, interchangeable=True)  # rule 3.3
    unknown: dict[str, str] = {}
    inputs = _Inputs(
        facts, chain_id, sandbox, mount_identity, fillings, salt, stdin, sandbox_sysctl, extras, unknown
    )
    parts = {name: part(inputs) for name, part in PARTS.items()}
    return WorkloadKey(
        "" if unknown else digest(parts),
        parts,
        unknown,
        {
            "service_links": _link_groups(inputs),
            "account": inputs.keyed("account", account_uid) if account_uid else None,
            "namespace": inputs.keyed("namespace", namespace_uid) if namespace_uid else None,
            "volumes": {
                place: inputs.keyed("volume", place, state) if state else None
                for place, state in volume_states.items()
            },
        },
    )


def _link_groups(inputs: _Inputs) -> Value:
    """A keyed hash of each. There may be a thousand, so the keyed state is copied and not made again."""
    state = hashlib.blake2b(b"link\0", digest_size=16, key=_key_of(inputs.salt))
    found = {}
    for prefix, group in inputs.links.items():
        one = state.copy()
        one.update(service_links.text(group).encode())
        found[prefix] = one.hexdigest()
    return found


def digest(parts: Mapping[str, Value]) -> str:
    """The digest of a complete set of parts: 64 hexadecimal digits."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def keyed(salt: bytes, *words: str) -> str:
    """A keyed hash of words that may be secret: 32 hexadecimal digits."""
    text = json.dumps(words)  # ASCII, and one text per list of words
    return hashlib.blake2b(text.encode(), digest_size=16, key=_key_of(salt)).hexdigest()


def keyed_text(salt: bytes, what: str, text: str) -> str:
    """The same of one long text: 32 hexadecimal digits."""
    return hashlib.blake2b(f"{what}\0{text}".encode(), digest_size=16, key=_key_of(salt)).hexdigest()


@lru_cache(maxsize=2)
def _key_of(salt: bytes) -> bytes:
    return hashlib.sha256(salt).digest()


def _rules(_: _Inputs) -> Value:
    return RULES_VERSION


def _salt(inputs: _Inputs) -> Value:
    return inputs.keyed("salt")[:16]


def _image(inputs: _Inputs) -> Value:
    if not inputs.chain_id:
        inputs.unknown["image"] = "the image's chain ID"
    return inputs.chain_id


def _args(inputs: _Inputs) -> Value:
    cleaned = noise.in_args(inputs.sandbox, inputs.facts.args)
    return [noise.shown(arg) or inputs.keyed("arg", arg) for arg in cleaned]


def _env(inputs: _Inputs) -> Value:
    links = service_links.names(inputs.links)  # rule 3.4: conditions, not parts
    ignored = inputs.facts.annotations.get(IGNORE_ENV, "").replace(",", " ").split()
    return {
        name: "<ignored>"
        if any(fnmatchcase(name, pattern) for pattern in ignored)
        else _one(inputs, name, inputs.repeated.get(name) or [inputs.env[name]])
        for name in sorted(inputs.env.keys() - links)
    }


def _one(inputs: _Inputs, name: str, values: list[str]) -> str:
    any_gpu = [which_gpu.in_variable(name, value, has_nvidia=inputs.has_nvidia) for value in values]
    cleaned = [noise.by_value(inputs.sandbox, name, value) for value in any_gpu]
    return (noise.shown(cleaned[0]) if len(cleaned) == 1 else None) or inputs.keyed("env", name, *cleaned)


def _name(inputs: _Inputs) -> Value:
    """Rule 3.3: which of its set's members a pod is, where its name says so and stays when the pod is made again."""
    return inputs.sandbox.stable_name


def _stdin(inputs: _Inputs) -> Value:
    """Whether it is a pipe; else it is /dev/null, and a process that holds that would never hear a word."""
    if inputs.stdin is None:
        inputs.unknown["stdin"] = "whether the container has one"
    return inputs.stdin


def _user(inputs: _Inputs) -> Value:
    found = inputs.facts
    return {"uid": found.uid, "gid": found.gid, "groups": list(found.gids), "umask": found.umask}


def _capabilities(inputs: _Inputs) -> Value:
    return {name: list(names) for name, names in inputs.facts.capabilities.items() if names}


def _seccomp(inputs: _Inputs) -> Value:
    return None if inputs.facts.seccomp is None else _public("seccomp", inputs.facts.seccomp)


def _selinux(inputs: _Inputs) -> Value:
    """User, role and type; the level behind them is the pod's own category."""
    return ":".join(inputs.facts.selinux.split(":")[:3])


def _rlimits(inputs: _Inputs) -> Value:
    return {name: list(limits) for name, limits in inputs.facts.rlimits.items()}


def _mounts(inputs: _Inputs) -> Value:
    found: dict[str, Value] = {}
    for mount in mounts.classify(inputs.facts):
        here = which_gpu.in_mount(mount.destination) if inputs.has_nvidia else mount.destination  # rule 5.2
        place, count = here, 1
        while place in found:  # mounted over: every layer counts
            count += 1
            place = f"{here} ({count})"
        found[place] = _mount(inputs, mount)
    return found


def _mount(inputs: _Inputs, mount: mounts.Classified) -> Value:
    value = mount.value
    if value is not None and inputs.has_nvidia and mount.how == "source":
        value = which_gpu.in_mount(value)  # rule 5.2
    found = {"kind": mount.kind, "how": mount.how, "value": value, "options": list(mount.options)}
    if mount.how == mounts.EMPTY_DIR and mount.destination in inputs.fillings:  # rule 4.10
        filling = inputs.fillings[mount.destination]
        if not filling:
            inputs.unknown[f"mount {mount.destination}"] = "what others put into it"
        found["value"] = inputs.keyed("mount", mount.how, filling or "")
    if mount.kind == mounts.UNKNOWN:
        inputs.unknown[f"mount {mount.destination}"] = "what is mounted there"
    if mount.is_question:
        answer = inputs.answers.get(mount.destination)
        if not answer:
            inputs.unknown[f"mount {mount.destination}"] = f"its {mount.how}"
        found["value"] = inputs.keyed("mount", mount.how, answer or "")
        if mount.value is not None:
            found["name"] = mount.value
    return found


def _devices(inputs: _Inputs) -> Value:
    """Each device node; the nodes of NVIDIA's GPUs by their number, since any of one product will do (rule 5.2)."""
    by_path: dict[str, Value] = {}
    counts: dict[str, int] = {}
    for device in inputs.facts.devices:
        kind = which_gpu.node_kind(device.path) if inputs.has_nvidia else None
        if kind is not None:
            counts[kind] = counts.get(kind, 0) + 1
            continue
        # Rule 5.3: its number is the node's, and says nothing about what is on it.
        if device.type == "b" and not _is_privileged(inputs.facts):
            inputs.unknown[f"device {device.path}"] = "what is on this raw block device"
        by_path[device.path] = _device(device.path, device)
    return {**by_path, **counts}


def _is_privileged(facts: BundleFacts) -> bool:
    """Whether CRI gave it everything of the node, all of its block devices too."""
    return not facts.masked_paths and "CAP_SYS_ADMIN" in facts.capabilities.get("bounding", ())


def _device(path: str, device: Device) -> Value:
    numbers = None if path.startswith("/dev/nvidia") else [device.major, device.minor]
    return [device.type, numbers, device.rights]


def _sysctl(inputs: _Inputs) -> Value:
    """Rule 6.1: the pod's, which are in its sandbox's spec, and the container's own where there are any."""
    if inputs.sandbox_sysctl is None:
        inputs.unknown["sysctl"] = "the sysctls of the pod"
    return {**(inputs.sandbox_sysctl or {}), **inputs.facts.sysctl}


def _namespaces(inputs: _Inputs) -> Value:
    return {type: "joined" if path else "new" for type, path in inputs.facts.namespaces.items()}


def _rootfs(inputs: _Inputs) -> Value:
    return {"readonly": inputs.facts.rootfs_readonly, "propagation": inputs.facts.rootfs_propagation}


def _hooks(inputs: _Inputs) -> Value:
    return {
        stage: [inputs.keyed("hook", json.dumps(_hook(inputs, hook), sort_keys=True)) for hook in hooks]
        for stage, hooks in inputs.facts.hooks.items()
    }


def _hook(inputs: _Inputs, hook: dict[str, object]) -> dict[str, object]:
    """Rule 5.2: the arguments of NVIDIA's hooks name the GPU by its PCI address and its DRM nodes."""
    args = hook.get("args")
    program = str(hook.get("path", "")).rpartition("/")[2]
    if not inputs.has_nvidia or not program.startswith("nvidia-") or not isinstance(args, list):
        return hook
    return {**hook, "args": [which_gpu.in_text(arg) if isinstance(arg, str) else arg for arg in args]}


def _settings(inputs: _Inputs) -> Value:
    """Rule 6.2."""
    return {
        name: inputs.keyed("setting", name, value) for name, value in settings.counting(inputs.facts).items()
    }


def _extras(inputs: _Inputs) -> Value:
    for name, value in inputs.extras.items():
        if value is None:
            inputs.unknown[f"extra {name}"] = f"its {name}"
    return {name: inputs.keyed("extra", name, value or "") for name, value in sorted(inputs.extras.items())}


def _other(inputs: _Inputs) -> Value:
    return {path: inputs.keyed("other", path, value) for path, value in inputs.facts.other.items()}


def _public(what: str, text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16, person=what.encode()).hexdigest()


PARTS: dict[str, Callable[[_Inputs], Value]] = {
    "rules": _rules,
    "salt": _salt,
    "image": _image,
    "name": _name,
    "args": _args,
    "stdin": _stdin,
    "cwd": lambda inputs: inputs.facts.cwd,
    "env": _env,
    "user": _user,
    "capabilities": _capabilities,
    "no_new_privileges": lambda inputs: inputs.facts.no_new_privileges,
    "seccomp": _seccomp,
    "apparmor": lambda inputs: inputs.facts.apparmor,
    "selinux": _selinux,
    "rlimits": _rlimits,
    "mounts": _mounts,
    "devices": _devices,
    "sysctl": _sysctl,
    "namespaces": _namespaces,
    "rootfs": _rootfs,
    "masked_paths": lambda inputs: list(inputs.facts.masked_paths),
    "readonly_paths": lambda inputs: list(inputs.facts.readonly_paths),
    "hooks": _hooks,
    "settings": _settings,
    "extras": _extras,
    "other": _other,
}
