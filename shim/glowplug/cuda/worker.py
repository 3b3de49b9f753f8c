"""The process that makes driver calls, one at a time, for one process of a container.

Started by `process_group` as `python -IS worker.py CHOICE LIBRARY PROGRAM`. It says `ready NAME VERSION` and then
answers each line that it reads: `COMMAND PID [ARGUMENT]` with `ok [VALUE]` or `error TEXT`. At the end
of its input it ends. A call that never returns keeps this process, and no other, forever.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # -I leaves our own package off the path
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from glowplug.cuda import engine, uuids
from glowplug.errors import CudaError


def answer(calls: engine.Engine, line: str) -> str:
    """The answer to one line. A CudaError becomes `error TEXT`."""
    command, _, rest = line.partition(" ")
    pid_text, _, argument = rest.partition(" ")
    try:
        pid = int(pid_text)
        if command == "state":
            return f"ok {calls.state(pid)}"
        if command == "restore-thread":
            return f"ok {calls.restore_thread(pid)}"
        if command == "lock":
            calls.lock(pid, int(argument))
        elif command == "checkpoint":
            calls.checkpoint(pid)
        elif command == "restore":
            calls.restore(pid, uuids.from_text(argument))
        elif command == "unlock":
            calls.unlock(pid)
        else:
            return f"error the CUDA worker knows no command {command!r}"
    except CudaError as error:
        return "error " + " ".join(str(error).split())
    return "ok"


def main(arguments: list[str]) -> int:
    """Serve standard input until it ends."""
    # What the runtime got from its caller (a container's stdio, leases) must not outlive the runtime in
    # here.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    try:
        calls = engine.pick(*arguments)
    except CudaError as error:
        print("error " + " ".join(str(error).split()), flush=True)  # noqa: T201
        return 1
    print(f"ready {calls.name} {calls.version}", flush=True)  # noqa: T201
    for line in sys.stdin:
        print(answer(calls, line.strip()), flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
