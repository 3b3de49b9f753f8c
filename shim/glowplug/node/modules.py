"""Whether glowplug-runtime finds its Python and our modules. Without them it starts every container as runc does, and
leaves no record of it: nothing else would notice.

The places are those that the script itself looks in (shim/glowplug-runtime).
"""

import glob
import os
import subprocess

from glowplug.errors import NodeError

PYTHONS = ("{here}/python3", "/usr/bin/python3", "/usr/local/bin/python3")
"""Where glowplug-runtime looks for its interpreter, {here} being its own directory."""

_MAINS = ("{here}/glowplug/runtime/main.py", "{here}/../lib/python3*/site-packages/glowplug/runtime/main.py")
_IMPORTS = "from glowplug.runtime import argv, checkpoint, create, delete, status, take_back"
_ANSWERS_WITHIN_S = 30.0


def runtime_of(program: str) -> str:
    """The glowplug-runtime behind a handler's program: itself, or the one beside a script in front of it."""
    folder, name = os.path.split(program)
    return program if name == "glowplug-runtime" else f"{folder}/glowplug-runtime"


def interpreter(runtime: str) -> str | None:
    """The Python that this glowplug-runtime takes; None where it finds none in its own places."""
    here = os.path.dirname(os.path.realpath(runtime))
    return next((path for one in PYTHONS if os.access(path := one.format(here=here), os.X_OK)), None)


def check(runtime: str) -> str:
    """Import what `create` imports, with its Python, from where it is; the directory. Raises NodeError."""
    here = os.path.dirname(os.path.realpath(runtime))
    mains = [path for one in _MAINS for path in sorted(glob.glob(one.format(here=glob.escape(here))))]
    main = next((path for path in mains if os.access(path, os.R_OK)), None)
    if main is None:
        raise NodeError(f"{runtime} finds no module of Glowplug (no {_MAINS[1].format(here=here)}): {_AGAIN}")
    python = interpreter(runtime)
    if python is None:
        raise NodeError(f"{runtime} finds no python3, neither in {here} nor in /usr/bin: {_AGAIN}")
    root = os.path.normpath(f"{main}/../../..")
    code = f"import sys; sys.path.insert(0, sys.argv[1]); {_IMPORTS}"
    try:
        done = subprocess.run(
            [python, "-IS", "-c", code, root],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWERS_WITHIN_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NodeError(f"{python} does not run: {type(error).__name__}: {_AGAIN}") from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise NodeError(f"{python} can't import the modules in {root} ({said}): {_AGAIN}")
    return root


_AGAIN = "install Glowplug again (hack/bootstrap-node.sh)"
