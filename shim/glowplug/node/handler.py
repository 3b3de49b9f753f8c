"""The handler's table for containerd: as the handler that it builds on, except for the program and the annotations."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glowplug.errors import NodeError, UsageError
from glowplug.node import templates
from glowplug.node.effective import Effective

RUNC_SHIM = "io.containerd.runc.v2"
ANNOTATIONS = "glowplug.dev/*"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

# Said by the template itself.
_OURS = ("runtime_type", "options", "pod_annotations", "container_annotations")


@dataclass(frozen=True, slots=True)
class Base:
    """The handler that ours builds on. `program`: its BinaryName; empty: the runc that the shim finds."""

    name: str
    program: str
    settings: Mapping[str, Any]
    options: Mapping[str, Any]


def checked_name(name: str) -> str:
    """A handler's name as Kubernetes takes it (RuntimeClass: a DNS label). Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"--handler: expected small letters, digits and dashes, got {name[:80]!r}")
    return name


def base(found: Effective, name: str | None, handler: str) -> Base:
    """The handler of this name, or the node's default one. Raises UsageError, NodeError."""
    others = sorted(set(found.handlers) - {handler})
    wanted = name or found.default
    if wanted not in others:
        raise UsageError(
            f"--base: expected a handler of this containerd ({', '.join(others)}), got {wanted!r}"
        )
    table = found.handlers[wanted]
    shim = table.get("runtime_type")
    if shim != RUNC_SHIM:
        raise NodeError(
            f"expected a handler of the shim {RUNC_SHIM} to build on, got {wanted!r} of {shim!r}: name one with --base"
        )
    options = table.get("options") or {}
    return Base(wanted, str(options.get("BinaryName") or ""), table, options)


def values(handler: str, program: str, on: Base | None = None) -> dict[str, str]:
    """What a template of containerd's is filled with. Without a base: as plain runc."""
    settings = on.settings if on else {}
    options = on.options if on else {}
    return {
        "handler": handler,
        "program": _toml(program),
        "pod_annotations": _toml(_annotations(settings.get("pod_annotations"))),
        "container_annotations": _toml(_annotations(settings.get("container_annotations"))),
        "settings": _lines("  ", {key: settings[key] for key in settings if key not in _OURS}),
        "options": _lines("    ", {key: options[key] for key in options if key != "BinaryName"}),
    }


def tables(version: int, filled: Mapping[str, str]) -> str:
    """The handler's two tables alone, for a main file of this version."""
    text = templates.fill("containerd-v2.toml" if version <= 2 else "containerd-v3.toml", filled)
    return text[text.index("[plugins.") :]


def drop_in(filled: Mapping[str, str]) -> str:
    """A file for containerd 2.x to import. Version 3, which every 2.x reads."""
    return templates.fill("containerd-v3.toml", filled)


def declared(version: int, name: str, table: Mapping[str, Any]) -> str:
    """A handler's tables as they are active: for one that would go once another is declared."""
    plugin = "io.containerd.grpc.v1.cri" if version <= 2 else "io.containerd.cri.v1.runtime"
    path = f'plugins."{plugin}".containerd.runtimes.{_toml(name)}'
    keys = {key: value for key, value in table.items() if key != "options"}
    return (
        f"[{path}]{_lines('  ', keys)}\n  [{path}.options]{_lines('    ', table.get('options') or {})}\n"
    ).rstrip() + "\n"


def _annotations(inherited: Any) -> list[str]:
    return list(dict.fromkeys([*(inherited or []), ANNOTATIONS]))


def _lines(indent: str, keys: Mapping[str, Any]) -> str:
    """Keys that say something, each on a new line. What is empty, 0 or false is the default everywhere."""
    return "".join(f"\n{indent}{key} = {_toml(value)}" for key, value in keys.items() if value)


def _toml(value: Any) -> str:
    """Strings, numbers, booleans and lists of strings are written alike in JSON and TOML."""
    return json.dumps(value, ensure_ascii=False)
