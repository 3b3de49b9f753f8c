"""The program behind the handler, chosen by what the handler builds on.

    runc (no BinaryName)           glowplug-runtime itself
    another runc                   a script that names it to glowplug-runtime (GLOWPLUG_RUNC)
    nvidia-container-runtime       a script that calls it with a configuration of our own, in which
                                   glowplug-runtime is its low-level runtime: nvidia edits the spec of a create
                                   first, so what glowplug-runtime reads has the GPUs in it

Every path is in the prefix and stays the same over upgrades: a pod's shim calls it until the pod ends.
"""

import os
import re
import shlex
import tomllib
from dataclasses import dataclass
from typing import Any

from glowplug.errors import NodeError
from glowplug.node import files

NVIDIA = "nvidia-container-runtime"
NVIDIA_CONFIG = "/etc/nvidia-container-runtime/config.toml"
_SECTION = re.compile(r"^[ \t]*\[nvidia-container-runtime\][ \t]*(?:#.*)?$", re.MULTILINE)
_RUNTIMES = re.compile(r"^([ \t]*)runtimes[ \t]*=[ \t]*\[[^\]]*\]", re.MULTILINE)

_SCRIPT = """#!/bin/sh
# The program of containerd's handler {handler}; `glowplug node install` wrote it, as that builds on {base}.
# A POSIX shell exports PWD even when its caller did not.
grep -qz '^PWD=' "/proc/$$/environ" 2>/dev/null || unset PWD
{lines}
"""


@dataclass(frozen=True, slots=True)
class Chain:
    """`program`: the handler's BinaryName. `files`: what it needs, each path with bytes and mode. `source`: somebody
    else's file that one of them is a copy of; empty where none is."""

    program: str
    files: dict[str, tuple[bytes, int]]
    source: str = ""


def chain(prefix: str, runtime: str, handler: str, base: str, program: str) -> Chain:
    """`runtime`: glowplug-runtime's path. `base`, `program`: the handler built on, and its BinaryName.

    Raises NodeError.
    """
    if not program:
        return Chain(runtime, {})
    script = f"{prefix}/bin/glowplug-runtime-{handler}"
    found: dict[str, tuple[bytes, int]] = {}
    source = ""
    if os.path.basename(program).startswith(NVIDIA):
        home = f"{prefix}/etc/{handler}"
        config = f"{home}/nvidia-container-runtime/config.toml"
        source = _nvidia_source(program)
        found[config] = (_nvidia_config(source, runtime).encode(), 0o644)
        lines = [
            f"export XDG_CONFIG_HOME={shlex.quote(home)} NVIDIA_CTK_CONFIG_FILE_PATH={shlex.quote(config)}",
            *_through_nvidia(program),
        ]
    else:
        lines = [
            f"export GLOWPLUG_RUNC={shlex.quote(program)}",
            f'exec {shlex.quote(runtime)} "$@"',
        ]
    found[script] = (_SCRIPT.format(handler=handler, base=base, lines="\n".join(lines)).encode(), 0o755)
    return Chain(script, found, source)


def _through_nvidia(program: str) -> list[str]:
    """The GPU operator's programs are scripts that set the configuration again and call PROGRAM.real."""
    if not os.path.exists(f"{program}.real"):
        return [f'exec {shlex.quote(program)} "$@"']
    return [
        f"PATH={shlex.quote(os.path.dirname(program))}:$PATH",
        f'exec {shlex.quote(program + ".real")} "$@"',
    ]


def _nvidia_source(program: str) -> str:
    """The GPU operator keeps its one beside the program."""
    beside = f"{os.path.dirname(program)}/.config/nvidia-container-runtime/config.toml"
    return beside if os.path.exists(beside) else NVIDIA_CONFIG


def _nvidia_config(path: str, runtime: str) -> str:
    """The node's own, except for the low-level runtime."""
    text = (files.read(path) or b"").decode()
    line = f'runtimes = ["{runtime}"]'
    before = _parsed(path, text)
    section = _SECTION.search(text)
    if section is None:
        changed = f"{text.rstrip()}\n\n[nvidia-container-runtime]\n{line}\n".lstrip()
    elif "runtimes" in before.get("nvidia-container-runtime", {}):
        head, tail = text[: section.end()], text[section.end() :]
        changed = head + _RUNTIMES.sub(lambda found: found[1] + line, tail, count=1)
    else:
        changed = f"{text[: section.end()]}\n{line}{text[section.end() :]}"
    before.setdefault("nvidia-container-runtime", {})["runtimes"] = [runtime]
    if _parsed(path, changed) != before:
        raise NodeError(
            f"can't set `runtimes` in [nvidia-container-runtime] of a copy of {path}: it has another form: "
            "write it as a list on lines of its own"
        )
    return changed


def _parsed(path: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NodeError(f"expected TOML in {path}, got: {error}") from None
