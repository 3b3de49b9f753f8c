"""In front of a runtime: gives the bundle CRI's annotations, and makes `run` of create and start.

front.py PROGRAM WAY ARGUMENT…
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile

PR_SET_CHILD_SUBREAPER = 36
GLOBAL_VALUES = ("--root", "--log", "--log-format", "--criu", "--rootless")
VERB_VALUES = ("--bundle", "-b", "--console-socket", "--pid-file", "--preserve-fds", "--pidfd-socket")
ANNOTATIONS = {
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.sandbox-id": "conformance-sandbox",
    "io.kubernetes.cri.sandbox-name": "conformance",
    "io.kubernetes.cri.sandbox-namespace": "default",
    "io.kubernetes.cri.sandbox-uid": "conformance-uid",
    "io.kubernetes.cri.container-name": "main",
    "io.kubernetes.cri.image-name": "conformance:1",
}


class Command:
    """A command line of runc in its parts: global options, verb, and the verb's options and words."""

    def __init__(self, arguments: list[str]) -> None:
        at = 0
        while at < len(arguments) and arguments[at].startswith("-"):
            at += 2 if arguments[at] in GLOBAL_VALUES else 1
        self.globals = arguments[:at]
        self.verb = arguments[at] if at < len(arguments) else ""
        self.options: list[str] = []
        self.words: list[str] = []
        rest = arguments[at + 1 :]
        while rest:
            taken = 2 if rest[0] in VERB_VALUES else 1
            (self.options if rest[0].startswith("-") else self.words).extend(rest[:taken])
            rest = rest[taken:]

    def value(self, *names: str) -> str:
        found = ""
        for at, option in enumerate(self.options):
            if option in names and at + 1 < len(self.options):
                found = self.options[at + 1]
            for name in names:
                found = option.removeprefix(f"{name}=") if option.startswith(f"{name}=") else found
        return found


def annotate(bundle: str) -> dict[str, object]:
    """The bundle's spec, with the annotations; empty where there is none that can be read."""
    path = os.path.join(bundle, "config.json")
    try:
        with open(path) as file:
            spec: dict[str, object] = json.load(file)
        annotations = spec.setdefault("annotations", {})
        assert isinstance(annotations, dict)
        annotations.update(ANNOTATIONS)
        with open(path, "w") as file:
            json.dump(spec, file, indent=4)
    except (OSError, ValueError, AssertionError, AttributeError):
        return {}
    return spec


def run(program: str, command: Command, has_terminal: bool) -> int:
    """`run` as create, start, and where it is not detached, the wait for the end, and delete."""
    is_detached = "-d" in command.options or "--detach" in command.options
    options = [
        option for option in command.options if option not in ("-d", "--detach", "--keep", "--no-subreaper")
    ]
    ids = command.words
    if not is_detached and has_terminal:
        return subprocess.call([program, *command.globals, "run", *command.options, *ids])
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(not is_detached), 0, 0, 0)
    with tempfile.TemporaryDirectory() as directory:
        pid_file = command.value("--pid-file") or f"{directory}/pid"
        if not command.value("--pid-file"):
            options += ["--pid-file", pid_file]
        status = subprocess.call([program, *command.globals, "create", *options, *ids], close_fds=False)
        if status:
            return status
        with open(pid_file) as file:
            init = int(file.read())
    status = subprocess.call([program, *command.globals, "start", *ids])
    if status or is_detached:
        if status:
            subprocess.call([program, *command.globals, "delete", "--force", *ids])
        return status
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: os.kill(init, received))
    with contextlib.suppress(ChildProcessError):
        status = os.waitstatus_to_exitcode(os.waitpid(init, 0)[1])
    if "--keep" not in command.options:
        subprocess.call([program, *command.globals, "delete", *ids])
    return status if status >= 0 else 128 - status


def main(program: str, way: str, *arguments: str) -> int:
    command = Command(list(arguments))
    if command.verb in ("create", "run") and len(command.words) == 1:
        spec = annotate(command.value("--bundle", "-b") or ".")
        process = spec.get("process")
        has_terminal = isinstance(process, dict) and process.get("terminal") is True
        if way == "create-start" and command.verb == "run" and spec:
            return run(program, command, has_terminal)
    return os.execv(program, [program, *arguments])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
