"""What the kernel was built with, from its own configuration; where that can't be read, by trying."""

import gzip
import os
import select
from collections.abc import Callable, Iterable, Mapping

from glowplug.node.doctor.finding import Finding, ok, wrong
from glowplug.node.doctor.probes import Probes

Try = Callable[[], bool]


def _exists(path: str) -> Try:
    return lambda: os.path.exists(path)


def _makes_eventfd() -> bool:
    try:
        os.close(os.eventfd(0))
    except OSError:
        return False
    return True


def _makes_epoll() -> bool:
    try:
        select.epoll().close()
    except OSError:
        return False
    return True


OPTIONS: Mapping[str, Try | None] = {
    "CHECKPOINT_RESTORE": _exists("/proc/sys/kernel/ns_last_pid"),
    "PID_NS": _exists("/proc/self/ns/pid"),
    "NET_NS": _exists("/proc/self/ns/net"),
    "IPC_NS": _exists("/proc/self/ns/ipc"),
    "UTS_NS": _exists("/proc/self/ns/uts"),
    "TIME_NS": _exists("/proc/self/ns/time"),
    "PROC_CHILDREN": _exists("/proc/thread-self/children"),
    "EVENTFD": _makes_eventfd,
    "EPOLL": _makes_epoll,
    "INOTIFY_USER": _exists("/proc/sys/fs/inotify"),
    "FHANDLE": None,
    "UNIX_DIAG": None,
    "INET_DIAG": None,
    "INET_TCP_DIAG": None,
    "INET_UDP_DIAG": None,
    "NETLINK_DIAG": None,
    "PACKET_DIAG": None,
    "OVERLAY_FS": None,
}
"""What CRIU's page "Linux kernel" asks for, and what we do; how to see it without the configuration, where that
is easy (None: `criu check` looks at the sockets)."""


def options(_: Probes) -> Finding:
    """The kernel's build options that CRIU needs."""
    return judge_options(read(), tried())


def judge_options(config: Mapping[str, str] | None, there: Mapping[str, bool]) -> Finding:
    """`config`: option → y or m, None where no configuration can be read. `there`: what trying found.

    A module counts as there: the kernel loads it when it is needed.
    """
    if config is None:
        missing = [name for name, found in there.items() if not found]
        fine = f"{len(there)} tried, all there; no configuration to read the others from"
    else:
        missing = [name for name in OPTIONS if config.get(name) not in ("y", "m") and not there.get(name)]
        fine = f"all {len(OPTIONS)} there"
    if not missing:
        return ok(fine)
    names = ", ".join(f"CONFIG_{name}" for name in missing)
    return wrong(
        f"lacks {names}", f"all of the {len(OPTIONS)} that CRIU needs", "boot a kernel built with it"
    )


def tried() -> dict[str, bool]:
    """Of each option that can be tried."""
    return {name: is_there() for name, is_there in OPTIONS.items() if is_there is not None}


def read() -> dict[str, str] | None:
    """The running kernel's configuration: option without CONFIG_ → value. None where there is none."""
    release = os.uname().release
    try:
        with gzip.open("/proc/config.gz", "rt", errors="replace") as lines:
            return parsed(lines)
    except OSError:
        pass  # not built with CONFIG_IKCONFIG_PROC
    for path in (
        f"/boot/config-{release}",
        f"/lib/modules/{release}/config",
        f"/usr/lib/modules/{release}/config",
    ):
        try:
            with open(path, errors="replace") as lines:
                return parsed(lines)
        except OSError:
            continue
    return None


def parsed(lines: Iterable[str]) -> dict[str, str] | None:
    """Lines as `CONFIG_FHANDLE=y`; all others are passed over. None: no such line, so it is no configuration."""
    found = {}
    for line in lines:
        name, equals, value = line.strip().partition("=")
        if equals and name.startswith("CONFIG_"):
            found[name.removeprefix("CONFIG_")] = value
    return found or None
