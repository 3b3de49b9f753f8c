"""The node's settings: `/etc/glowplug/config.toml`, typed, with one clear error per wrong key.

Agent's side only: the runtime reads no configuration, it is told what it needs by the agent's answer. The run
directory is the exception (GLOWPLUG_RUN_DIR): the two meet there.
"""

import os
import tomllib
from dataclasses import dataclass, fields

from glowplug import paths
from glowplug.cache.evict import Limits
from glowplug.errors import UsageError


@dataclass(frozen=True, slots=True)
class Config:
    """Every key with its default. Paths are absolute; sizes in bytes; times in seconds."""

    cache: str = paths.CACHE_ROOT
    """Where checkpoints lie: one file system with room, root only."""
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
    free_floor_bytes: int = 5 << 30
    """A capture that would leave less free space on the cache's file system is refused."""
    cache_max_age_s: float = 30 * 86400.0
    """A checkpoint that nobody used for so long goes."""
    cache_newest: int = 5
    """So many checkpoints of one workload and namespace are kept."""
    restore_deadline_s: float = 60.0
    """At most 60: what is not restored by then starts cold."""


def limits(config: Config) -> Limits:
    """What the store may take, as configured."""
    return Limits(
        config.cache_limit_bytes, config.free_floor_bytes, config.cache_max_age_s, config.cache_newest
    )


def load(path: str | None = None) -> Config:
    """Read the file; the defaults where there is none and none was named.

    Raises UsageError: no such file, no TOML, an unknown key, a value of another type.
    """
    file = path or paths.CONFIG_FILE
    try:
        with open(file, "rb") as opened:
            values = tomllib.load(opened)
    except FileNotFoundError:
        if path is not None or "GLOWPLUG_CONFIG" in os.environ:
            raise UsageError(f"wanted the configuration in {file}, found no such file") from None
        return Config()
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file}: wanted TOML, found: {error}") from None
    return _checked(file, values)


def _checked(file: str, values: dict[str, object]) -> Config:
    known = {field.name: field for field in fields(Config)}
    for key, value in values.items():
        if key not in known:
            raise UsageError(f"{file}: {key}: no such key; there are: {', '.join(sorted(known))}")
        default = known[key].default
        wanted = (int, float) if isinstance(default, float) else (type(default),)
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise UsageError(f"{file}: {key}: wanted {_words(default)}, found {value!r}")
        if isinstance(default, str) and not str(value).startswith("/") and key != "containerd_namespace":
            raise UsageError(f"{file}: {key}: wanted an absolute path, found {value!r}")
    config = Config(**values)  # type: ignore[arg-type]  # every value was checked against its field above
    for key in ("cache_limit_bytes", "cache_max_age_s", "cache_newest"):
        if getattr(config, key) <= 0:
            raise UsageError(f"{file}: {key}: wanted more than 0, found {getattr(config, key)}")
    if config.free_floor_bytes < 0:
        raise UsageError(f"{file}: free_floor_bytes: wanted 0 or more, found {config.free_floor_bytes}")
    if not 0 < config.restore_deadline_s <= 60:
        raise UsageError(
            f"{file}: restore_deadline_s: wanted more than 0 and at most 60, found {config.restore_deadline_s:g}"
        )
    return config


def _words(default: object) -> str:
    return {str: "a string", int: "a whole number", float: "a number"}[type(default)]
