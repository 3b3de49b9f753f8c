"""All that the program reports itself, gathered again for each question."""

import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Mapping

from integration.workload import logs, signals
from integration.workload.tokens import Tokens


def collect(drawn: Tokens, started: Mapping[str, Callable[[], object]]) -> dict[str, object]:
    """JSON values. A feature that fails says so under its name, with `error`."""
    return {
        "token": drawn.look(),
        "process": process(),
        "signals": signals.counts(),
        "logged": logs.count(),
        **{name: tried(feature) for name, feature in started.items()},
    }


def process() -> dict[str, object]:
    """Facts that the kernel keeps of this process."""
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":", 1) for line in file)
    with open("/proc/self/oom_score_adj") as file:
        oom_score_adj = int(file.read())
    return {
        "pid": os.getpid(),
        "ids": [os.getresuid(), os.getresgid(), sorted(os.getgroups())],
        "capabilities": {name: text.strip() for name, text in status.items() if name.startswith("Cap")},
        "no_new_privs": status["NoNewPrivs"].strip(),
        "seccomp": status["Seccomp"].strip(),
        "umask": status["Umask"].strip(),
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
        "oom_score_adj": oom_score_adj,
        "cwd": os.getcwd(),
        "args": sys.orig_argv,
        "env": dict(os.environ),
        "hostname": os.uname().nodename,
        "threads": threading.active_count(),
        "monotonic": time.monotonic(),
        "fds": len(os.listdir("/proc/self/fd")),
    }


def tried(feature: Callable[[], object]) -> object:
    """What a try gave, or the error that it met."""
    try:
        return feature()
    except OSError as error:
        return {"error": f"{type(error).__name__} {error.errno}: {error.strerror}"}
