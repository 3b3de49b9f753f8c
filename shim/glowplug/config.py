"""The node's settings: `/etc/glowplug/config.toml`, typed, with one clear error per wrong key.

Agent's side only: the runtime reads no configuration, what it needs is in the agent's answer. The run
directory is the exception (GLOWPLUG_RUN_DIR): the two meet there.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from glowplug import listen_address, paths, presets
from glowplug.cache.evict import Limits
from glowplug.checkpoint import sharing
from glowplug.errors import UsageError
from glowplug.registry import settings
from glowplug.registry.settings import RegistrySettings

LEAST_FREE_BYTES = 5 << 30
FREE_SHARE = 5


@dataclass(frozen=True, slots=True)
class Config:
    """Every key with its default (docs/config.md). Paths are absolute; sizes in bytes; times in seconds."""

    cache: str = paths.CACHE_ROOT
    """Where checkpoints lie: one file system with enough space, root only."""
    criu: str = "/usr/sbin/criu"
    """CRIU, 4.1 or newer."""
    runc: str = "/usr/sbin/runc"
    """The runc that captures; restores use the one that the runtime wraps."""
    containerd_socket: str = "/run/containerd/containerd.sock"
    containerd_namespace: str = "k8s.io"
    runc_root: str = "/run/containerd/runc"
    """What containerd gives runc as --root, without the namespace."""
    cache_limit_bytes: int = 200 << 30
    """All checkpoints together stay under this."""
    min_free_bytes: int = -1
    """A capture that would leave less free space on the cache's file system is refused. -1: 5 GiB, or a fifth of the
    file system where that is more: the kubelet evicts pods at 10 % (nodefs) or 15 % (imagefs) free."""
    cache_max_age_s: float = 30 * 86400.0
    """A checkpoint that nobody used for so long goes."""
    keep_per_workload: int = 5
    """So many checkpoints of one workload and namespace are kept."""
    restore_deadline_s: float = 60.0
    """At most 60: what is not restored by then starts cold."""
    mode: str = "on"
    """on; observe: nothing is restored or captured automatically, what would have been is recorded; off."""
    capture: str = "ready"
    """Of pods that say nothing with glowplug.dev/capture: ready, any-time, never or once-and-exit."""
    capture_default_scope: str = "gpu"
    """Of pods that say nothing with glowplug.dev/containers: gpu, the containers with a GPU, or all."""
    sharing: str = ""
    """Which namespaces take whose shared checkpoints without asking: "models:team-a,team-b base:*"."""
    trial: str = "first"
    """Of pods that say nothing with glowplug.dev/trial: whether a fresh checkpoint is restored once, where nobody sees
    it, before it is published: always; first, where the cache has none of that workload; never."""
    max_concurrent_captures: int = 1
    """So many containers of the node are captured by the agent at the same time."""
    readiness_timeout_s: float = 1800.0
    """A container that is not ready so long after its start is not captured."""
    capture_max_age_s: float = 300.0
    """A container that was ready and older than this when the agent began serves already, and is not captured."""
    failure_backoff: bool = True
    """Whether captures and restores of a workload rest for a while after several that came to nothing."""
    log_format: str = "logfmt"
    """Of the agent's log, on standard error: logfmt or json."""
    metrics_listen: str = ""
    """Where the agent serves Prometheus metrics to anybody, such as 127.0.0.1:9464; "": nowhere."""
    kubernetes: str = "auto"
    """Events, annotations and node labels: auto (where the agent runs in a pod with a service account), off, or
    the path of a kubeconfig."""
    node_name: str = ""
    """Of this node in Kubernetes; "": $NODE_NAME, else the host name."""
    registry: RegistrySettings = field(default_factory=RegistrySettings)
    """The table [registry]: where checkpoints come from and go to (docs/registry.md)."""
    presets: Mapping[str, Any] = field(default_factory=dict)
    """The table [presets]: engines that a pod may name besides vllm and sglang (docs/engines.md)."""

    def __post_init__(self) -> None:
        """A table as TOML or JSON has it becomes its settings."""
        if isinstance(self.registry, Mapping):
            object.__setattr__(self, "registry", settings.of(self.registry))


def limits(config: Config) -> Limits:
    """What the store may take, as configured."""
    return Limits(
        config.cache_limit_bytes, min_free(config), config.cache_max_age_s, config.keep_per_workload
    )


def min_free(config: Config) -> int:
    """Bytes to leave free on the cache's file system: as configured, or above the kubelet's eviction thresholds."""
    if config.min_free_bytes >= 0:
        return config.min_free_bytes
    directory = config.cache
    while not os.path.isdir(directory) and directory != "/":
        directory = os.path.dirname(directory)
    found = os.statvfs(directory)
    return max(LEAST_FREE_BYTES, found.f_blocks * found.f_frsize // FREE_SHARE)


def load(path: str | None = None) -> Config:
    """Read the file; the defaults where there is none and none was set.

    Raises UsageError: no such file, no TOML, an unknown key, a value that can't be. The first of the problems is
    reported; `problems` lists all.
    """
    file, values = read(path)
    wrong = problems(values)
    if wrong:
        more = f" (and {len(wrong) - 1} more: `glowplug config check`)" if len(wrong) > 1 else ""
        raise UsageError(f"{file}: {wrong[0]}{more}")
    return Config(**values)  # type: ignore[arg-type]  # every value was checked against its field


def read(path: str | None = None) -> tuple[str, dict[str, object]]:
    """The file's name and its keys, unchecked. Raises UsageError: no such file, no TOML."""
    file = path or paths.CONFIG_FILE
    try:
        with open(file, "rb") as opened:
            return file, tomllib.load(opened)
    except FileNotFoundError:
        if path is not None or "GLOWPLUG_CONFIG" in os.environ:
            raise UsageError(f"there is no configuration {file}") from None
        return file, {}
    except OSError as error:
        raise UsageError(f"{file}: can't read it: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: expected TOML, got: {error}") from None


def problems(values: Mapping[str, object]) -> list[str]:
    """One line for each key that is wrong: what it has to be, and what it is."""
    known = {one.name: one.default for one in fields(Config)}
    found = []
    for key, value in values.items():
        if key not in known:
            found.append(f"{key}: no such key; there are: {', '.join(sorted(known))}")
            continue
        if key in _TABLES:
            found.extend(_TABLES[key](value))
            continue
        rule, wanted = _RULES.get(key) or _rule_of_type(known[key])
        if not _has_type(value, known[key]):
            found.append(f"{key}: expected {_TYPES[type(known[key])]}, got {value!r}")
        elif not rule(value):
            found.append(f"{key}: expected {wanted}, got {value!r}")
    return found


Rule = tuple[Callable[[Any], bool], str]

_MORE_THAN_0: Rule = (lambda value: value > 0, "more than 0")
_ANY: Rule = (lambda _: True, "")
_ABSOLUTE: Rule = (lambda value: value.startswith("/") and value.isprintable(), "an absolute path")
_IDENTIFIER = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")
"""A name in containerd (its pkg/identifiers)."""


def _one_of(*values: str) -> Rule:
    return values.__contains__, f"one of {', '.join(values)}"


_RULES: Mapping[str, Rule] = {
    "containerd_namespace": (
        lambda value: bool(_IDENTIFIER.fullmatch(value)),
        "a name of containerd's, such as k8s.io",
    ),
    "cache_limit_bytes": _MORE_THAN_0,
    "cache_max_age_s": _MORE_THAN_0,
    "keep_per_workload": _MORE_THAN_0,
    "min_free_bytes": (lambda value: value >= -1, "0 or more, or -1 for a fifth of the file system"),
    "restore_deadline_s": (lambda value: 0 < value <= 60, "more than 0 and at most 60"),
    "log_format": (("logfmt", "json").__contains__, "logfmt or json"),
    "metrics_listen": (
        lambda value: not value or listen_address.is_one(value),
        "ADDRESS:PORT with an IP address",
    ),
    "kubernetes": (
        lambda value: value in ("auto", "off") or _ABSOLUTE[0](value),
        "auto, off or an absolute path",
    ),
    "node_name": _ANY,
    "sharing": (sharing.is_well_formed, sharing.FORM),
    "mode": _one_of("on", "observe", "off"),
    "capture": _one_of("ready", "any-time", "never", "once-and-exit"),
    "capture_default_scope": _one_of("gpu", "all"),
    "trial": _one_of("always", "first", "never"),
    "max_concurrent_captures": _MORE_THAN_0,
    "readiness_timeout_s": _MORE_THAN_0,
    "capture_max_age_s": _MORE_THAN_0,
}
"""What a value must be besides its type. A string without a rule here is an absolute path."""

_TABLES: Mapping[str, Callable[[object], Iterable[str]]] = {
    "registry": settings.problems,
    "presets": presets.problems,
}

_TYPES = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


def _rule_of_type(default: object) -> Rule:
    return _ABSOLUTE if isinstance(default, str) else _ANY


def _has_type(value: object, default: object) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return type(value) is type(default)
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))
