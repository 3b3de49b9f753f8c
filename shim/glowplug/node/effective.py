"""What containerd itself makes of a configuration file: `containerd --config FILE config dump`.

The dump is the entire active configuration, imports and defaults included, in the newest format of that
containerd: version 2 from 1.6 and 1.7, version 3 or 4 from 2.x.
"""

import os
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glowplug.errors import NodeError
from glowplug.node.files import refused

CRI_V2 = "io.containerd.grpc.v1.cri"
CRI_V3 = "io.containerd.cri.v1.runtime"
ADDRESS = "/run/containerd/containerd.sock"
DUMPS_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Effective:
    """`version`: of the dump. `handlers`: each as the dump has it, its `options` inside. `address`: the socket."""

    version: int
    handlers: Mapping[str, Mapping[str, Any]]
    default: str
    address: str
    disabled: frozenset[str]
    tree: Mapping[str, Any]

    @property
    def cri(self) -> str:
        """Name of the plugin that knows the handlers."""
        return CRI_V2 if self.version <= 2 else CRI_V3

    @property
    def has_cri(self) -> bool:
        """Whether the CRI plugin is on."""
        return not self.disabled & {CRI_V2, CRI_V3, "cri"}


def read(containerd: str, text: bytes, main: str, beside: Mapping[str, bytes] | None = None) -> Effective:
    """What this containerd would make of `text` as its main file. Nothing that it reads now is touched.

    `main`: path of the main file; the text is tried from a file beside it, since imports may be relative.
    `beside`: further files that the text imports, for the time of the try. Raises NodeError.
    """
    trial = f"{main}.glowplug-check"
    files = {trial: text, **(beside or {})}
    written: list[str] = []
    made: list[str] = []
    try:
        for path, data in files.items():
            made += _make_directory(os.path.dirname(path))
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            written.append(path)
            with open(descriptor, "wb") as file:
                file.write(data)
        return parse(_dump(containerd, trial))
    except OSError as error:
        raise refused("write beside", main, error) from error
    finally:
        for path in written:
            os.unlink(path)
        for path in reversed(made):
            os.rmdir(path)


def _make_directory(path: str) -> list[str]:
    """With its parents; those that were not there."""
    missing: list[str] = []
    while not os.path.isdir(path):
        missing.insert(0, path)
        path = os.path.dirname(path)
    for folder in missing:
        os.mkdir(folder, 0o755)
    return missing


def _dump(containerd: str, path: str) -> str:
    try:
        done = subprocess.run(
            [containerd, "--config", path, "config", "dump"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DUMPS_WITHIN_S,
        )
    except FileNotFoundError:
        raise NodeError(
            f"{containerd} is not there: install containerd first, or name it with --containerd"
        ) from None
    except (OSError, subprocess.SubprocessError) as error:
        raise NodeError(f"{containerd} config dump failed: {type(error).__name__}") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise NodeError(f"containerd refuses the configuration: {said[-1]}")
    return done.stdout


def parse(dump: str) -> Effective:
    """A dump, read. Raises NodeError."""
    try:
        tree = tomllib.loads(dump)
        version = int(tree["version"])
        plugins = tree.get("plugins", {})
        runtime = plugins.get(CRI_V2 if version <= 2 else CRI_V3, {}).get("containerd", {})
        server = plugins.get("io.containerd.server.v1.grpc", tree.get("grpc", {}))
        return Effective(
            version=version,
            handlers=dict(runtime.get("runtimes", {})),
            default=str(runtime.get("default_runtime_name", "")),
            address=str(server.get("address") or ADDRESS),
            disabled=frozenset(map(str, tree.get("disabled_plugins", []))),
            tree=tree,
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise NodeError(f"can't parse `containerd config dump`: {error}") from error


def differences(before: Effective, after: Effective, handler: str) -> list[str]:
    """Dotted names of what differs between the two, except `handler` and the list of imports."""
    return sorted(_differing(_without(before, handler), _without(after, handler)))


def _without(found: Effective, handler: str) -> dict[str, Any]:
    tree: dict[str, Any] = _said(found.tree)
    tree.pop("imports", None)
    tree.pop("version", None)
    runtimes = tree.get("plugins", {}).get(found.cri, {}).get("containerd", {}).get("runtimes", {})
    runtimes.pop(handler, None)
    return tree


def _said(value: Any) -> Any:
    """Without what says nothing: an empty value is as good as none."""
    if isinstance(value, dict):
        kept = {key: _said(part) for key, part in value.items()}
        return {key: part for key, part in kept.items() if not _says_nothing(part)}
    return value


def _says_nothing(value: Any) -> bool:
    return value is None or value in ("", 0, False, [], {})


def _differing(before: Any, after: Any, name: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            found
            for key in sorted(before.keys() | after.keys())
            for found in _differing(before.get(key), after.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if before == after or (_says_nothing(before) and _says_nothing(after)) else [name]
