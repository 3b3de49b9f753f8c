"""A container that we froze is thawed, even if we are killed.

Before the freeze a child is started that waits for the end of a pipe. After "done", it goes quietly; when the
pipe just ends, because we were killed or did not get that far, it waits for CRIU to be finished with the tasks
(a dump that is cut off in the middle would leave its code in them) and thaws the container.
"""

import subprocess
from types import TracebackType

# $1: runc, $2: its root, $3: the container, $4: the file that holds the pid of `runc checkpoint`, if any
SCRIPT = """
read -r word
[ "$word" = done ] && exit 0
pid=$(cat "$4" 2>/dev/null)
tries=0
while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && [ $tries -lt 1200 ]; do sleep 0.1; tries=$((tries + 1)); done
exec "$1" --root "$2" resume "$3"
"""


class Guard:
    """While this is open, a death of ours thaws the container, once the dump that `watch` names has ended."""

    def __init__(self, runc: str, root: str, container: str, scratch: str) -> None:
        self.dump: subprocess.Popen[bytes] | None = None
        self._pid_file = f"{scratch}/dump.pid"
        self._child = subprocess.Popen(
            ["/bin/sh", "-c", SCRIPT, "glowplug-guard", runc, root, container, self._pid_file],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def watch(self, dump: subprocess.Popen[bytes]) -> None:
        """Have the guard wait for this dump before it thaws the container."""
        self.dump = dump
        with open(self._pid_file, "w") as file:
            file.write(str(dump.pid))

    def thawed(self) -> None:
        """There is nothing left to guard."""
        assert self._child.stdin is not None
        self._child.stdin.write(b"done\n")

    def __enter__(self) -> "Guard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Without `thawed`, as when we die: the child thaws the container."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait()
