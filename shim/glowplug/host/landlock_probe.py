"""Whether a thread has a Landlock domain: nothing in /proc says so, and CRIU knows nothing of it.

A thread in a domain may look at no process outside of it (the kernel's security/landlock/task.c), whatever else it
may do. So it is made to ask the kernel about a helper of ours that it could look at otherwise: in its PID namespace,
with its ids, without capabilities. The call is get_robust_list(2), with addresses that can't be written: EFAULT says
that it may, EPERM that it may not. x86-64 only. Only a thread that can gain no privileges, or has CAP_SYS_ADMIN, can
give up rights (landlock_restrict_self(2)); others need not be queried.
"""

import ctypes
import os
import signal
import struct

from glowplug.host import proc, process
from glowplug.host.remote_calls import Thread

GET_ROBUST_LIST = 274
EPERM = 1
CLONE_NEWPID = 0x20000000

_PR_SET_DUMPABLE, _PR_SET_PDEATHSIG = 4, 1
_CAPABILITY_VERSION_3 = 0x20080522
_SYS_ADMIN = 1 << 21

_libc = ctypes.CDLL(None, use_errno=True)


def is_on() -> bool:
    """Whether this kernel restricts by Landlock."""
    try:
        with open("/sys/kernel/security/lsm") as file:
            return "landlock" in file.read()
    except OSError:
        return int(_libc.syscall(444, None, 0, 1)) > 0  # landlock_create_ruleset: its version


def may_restrict(thread: int) -> bool:
    """Whether it can have dropped rights. Raises OSError where it is gone."""
    no_new = proc.status(thread).get("NoNewPrivs") == "1"
    return no_new or bool(process.effective_capabilities(thread) & _SYS_ADMIN)


class Helpers:
    """One for each kind of thread that asks; all end with the context, or with this program. init: the container's
    first process."""

    def __init__(self, init: int) -> None:
        self._init = init
        self._made: dict[tuple[object, ...], _Helper] = {}

    def __enter__(self) -> "Helpers":
        return self

    def __exit__(self, *_: object) -> None:
        for helper in reversed(self._made.values()):  # the later ones have the pipes of the earlier ones, too
            helper.end()

    def for_thread(self, thread: int) -> int:
        """The number of one in the container's PID namespace, made before the thread is stopped. Raises OSError."""
        who = _ids(thread)
        if who not in self._made:
            self._made[who] = _Helper(self._init, who)
        return self._made[who].number


def is_restricted(thread: Thread, helper: int) -> bool:
    """Raises OSError where it is gone."""
    return thread.call(GET_ROBUST_LIST, helper, 0, 0) == -EPERM


def _ids(thread: int) -> tuple[object, ...]:
    found = proc.status(thread)
    try:
        with open(f"/proc/{thread}/attr/current") as file:
            label = file.read().strip("\0\n").removesuffix(" (enforce)").removesuffix(" (complain)")
    except OSError:
        label = ""
    return int(found["Uid"].split()[0]), int(found["Gid"].split()[0]), label


class _Helper:
    """A process that threads of these ids may look at, by its number in the container. Another keeps it, which ends it
    when this program has no more use for it or has ended, and reaps it: a zombie in a PID namespace lets its first
    process not end. Raises OSError."""

    def __init__(self, init: int, who: tuple[object, ...]) -> None:
        said, report = os.pipe()
        until, self._until_closed = os.pipe()
        self._keeper = os.fork()
        if self._keeper == 0:
            try:
                os.close(self._until_closed)
                _keep(init, who, report, until)
            finally:
                os._exit(0)
        os.close(report)
        os.close(until)
        with open(said) as file:
            line = file.readline()
        if not line:
            self.end()
            raise OSError("no helper could be made in the container's PID namespace")
        self.number = int(line)

    def end(self) -> None:
        os.close(self._until_closed)
        os.waitpid(self._keeper, 0)


def _keep(init: int, who: tuple[object, ...], report: int, until: int) -> None:
    """A helper, until nobody has the other end of `until` any more."""
    namespace = os.open(f"/proc/{init}/ns/pid", os.O_RDONLY)
    _checked(_libc.setns(namespace, CLONE_NEWPID), "setns")
    helper = os.fork()
    if helper == 0:
        _become(who)
        os.write(report, b"%d\n" % os.getpid())
        while True:
            signal.pause()
    os.close(report)
    os.read(until, 1)
    os.kill(helper, signal.SIGKILL)
    os.waitpid(helper, 0)


def _become(who: tuple[object, ...]) -> None:
    user, group, label = who
    assert isinstance(user, int) and isinstance(group, int)
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if label and label != "unconfined":
        with open("/proc/self/attr/current", "w") as file:
            file.write(f"changeprofile {label}" if ":" not in str(label) else str(label))
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    header, data = struct.pack("Ii", _CAPABILITY_VERSION_3, 0), bytes(24)
    _checked(_libc.capset(header, data), "capset")
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")  # the ids took it away
    _checked(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl")


def _checked(result: int, call: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
