"""runc, as the runtime finds it and as the agent is configured with it; and the runtime's own parts."""

import re

from glowplug.errors import HostError, NodeError
from glowplug.node import modules
from glowplug.node.doctor import programs
from glowplug.node.doctor.finding import Finding, ok, wrong
from glowplug.node.doctor.probes import Probes, options

OLDEST = (1, 1)
OLDEST_PYTHON = (3, 11)
# Not always the first line: nvidia-container-runtime, where our runtime is behind it, says its own version first.
_SAYS_VERSION = re.compile(r"^runc version (\S+)", re.MULTILINE)
_INSTALL = "apt-get install runc, or set `runc` in the configuration"
_AGAIN = "hack/bootstrap-node.sh"


def version(probes: Probes) -> Finding:
    """The runc that captures."""
    try:
        return judge_version(probes.config.runc, programs.run([probes.config.runc, "--version"]))
    except HostError as error:
        return wrong(str(error), "runc 1.1 or newer", _INSTALL)


def judge_version(path: str, said: programs.Said) -> Finding:
    """`said`: "runc version 1.1.5" and more lines. HostError where that has another shape."""
    found = _version(path, said)
    if programs.version_numbers(found)[:2] >= OLDEST:
        return ok(f"{found}, {path}")
    return wrong(f"{found}, {path}", "runc 1.1 or newer", _INSTALL)


def _version(path: str, said: programs.Said) -> str:
    found = _SAYS_VERSION.search(said.text)
    if said.status != 0 or found is None:
        raise HostError(f"{path} --version does not say which runc it is")
    return found[1]


def through_runtime(probes: Probes) -> Finding:
    """The runc that restores and starts: the runtime passes `--version` on to the one that it wraps."""
    binary = _binary(probes)
    return judge_through_runtime(
        binary,
        programs.run([binary, "--version"]),
        programs.run([probes.config.runc, "--version"]),
    )


def judge_through_runtime(binary: str, wrapped: programs.Said, captures: programs.Said) -> Finding:
    """`wrapped`: what the handler's program says, `captures`: what the agent's runc says. HostError as above."""
    found, other = _version(binary, wrapped), _version("runc", captures)
    if found == other:
        return ok(f"{found}, through {binary}")
    return wrong(
        f"{found} through {binary}, {other} in the configuration",
        "one runc for captures and restores",
        _INSTALL,
    )


def python(probes: Probes) -> Finding:
    """The interpreter that the runtime takes."""
    path = modules.interpreter(modules.runtime_of(_binary(probes)))
    if path is None:
        return wrong("none", "Python 3.11 or newer, beside the runtime or in /usr/bin", _AGAIN)
    said = programs.run([path, "-IS", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"])
    return judge_python(path, said)


def own_modules(probes: Probes) -> Finding:
    """Whether that interpreter imports them: without, every start is runc's and nothing is on record."""
    try:
        return ok(f"in {modules.check(modules.runtime_of(_binary(probes)))}")
    except NodeError as error:
        return wrong(str(error), "the modules of Glowplug, where the runtime looks for them", _AGAIN)


def judge_python(path: str, said: programs.Said) -> Finding:
    """HostError where it names no version."""
    if programs.version_numbers(said.text) >= OLDEST_PYTHON:
        return ok(f"{said.text.strip()}, {path}")
    return wrong(f"{said.text.strip()}, {path}", "Python 3.11 or newer", _AGAIN)


def _binary(probes: Probes) -> str:
    """The handler's program. HostError where containerd names none."""
    binary = options(probes.handler() or {}).get("BinaryName")
    if not binary:
        raise HostError("containerd has no handler glowplug with a program")
    return str(binary)
