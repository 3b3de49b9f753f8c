"""Which threads have a Landlock domain: nothing in /proc says so, and CRIU knows nothing of it.

A thread in a domain may look at no process outside of it (the kernel's security/landlock/task.c), whatever else it
may do. So each thread is stopped and made to ask the kernel about a helper of ours that it could look at otherwise:
in its PID namespace, with its ids, without capabilities. The call is get_robust_list(2), with addresses that can't be
written: EFAULT says that it may, EPERM that it may not. About itself every thread may ask: where that is refused, a
filter refuses the call, and nothing can be told.

Run as a program, `python -IS landlock_probe.py INIT TID…`, so that whoever asks is nobody's debugger. Prints a line for
each thread that has a domain or can't be told. x86-64 only.
"""

import ctypes
import os
import platform
import signal
import struct
import subprocess
import sys
import time

GET_ROBUST_LIST = 274
EPERM, EFAULT = 1, 14
STOPS_WITHIN_S = 2.0
DONE_WITHIN_S = 20.0
CLONE_NEWPID = 0x20000000
RESTRICTED, UNKNOWN = "restricted", "unknown"

_SEIZE, _INTERRUPT, _GETREGSET, _SETREGSET, _SYSCALL, _CONT, _DETACH = (
    0x4206,
    0x4207,
    0x4204,
    0x4205,
    24,
    7,
    17,
)
_TRACE_SYSCALLS = 1  # PTRACE_O_TRACESYSGOOD
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_EVENT_STOP = 128
_NT_PRSTATUS = 1
_WALL = 0x40000000
_SIZE = 216  # struct user_regs_struct: 27 words
_AX, _DX, _SI, _DI, _ORIG_AX, _IP = 10, 12, 13, 14, 15, 16
_INSTRUCTION = b"\x0f\x05"
_PR_SET_DUMPABLE, _PR_SET_PDEATHSIG = 4, 1
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def is_on() -> bool:
    """Whether this kernel restricts by Landlock."""
    try:
        with open("/sys/kernel/security/lsm") as file:
            return "landlock" in file.read()
    except OSError:
        return int(_libc.syscall(444, None, 0, 1)) > 0  # landlock_create_ruleset: its version


def can_ask() -> bool:
    """Whether this machine is one whose registers are known here."""
    return platform.machine() == "x86_64"


def restricted(init: int, threads: list[int]) -> tuple[list[int], list[int]]:
    """Those of the threads that have a domain, and those that can't be told. init: the container's first process.

    Raises OSError, subprocess.TimeoutExpired.
    """
    done = subprocess.run(
        [sys.executable, "-IS", os.path.abspath(__file__), str(init), *map(str, threads)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DONE_WITHIN_S,
    )
    if done.returncode:
        raise OSError(f"threads can't be asked for Landlock: {done.stderr.strip()[-200:]}")
    said = [line.split() for line in done.stdout.splitlines()]
    found, unknown = ([int(thread) for thread, what in said if what == kind] for kind in (RESTRICTED, UNKNOWN))
    return found, unknown


def main(init: int, threads: list[int]) -> None:
    """Prints `TID restricted` and `TID unknown`."""
    helpers: dict[tuple[object, ...], _Helper] = {}
    try:
        for thread in threads:
            try:
                who = _ids(thread)
                if who not in helpers:
                    helpers[who] = _Helper(init, who)
                is_restricted = _is_restricted(thread, helpers[who].number)
                if is_restricted is not False:
                    sys.stdout.write(f"{thread} {RESTRICTED if is_restricted else UNKNOWN}\n")
            except (ProcessLookupError, FileNotFoundError, TimeoutError):
                continue  # it ended, or can't be stopped: the capture will see
    finally:
        for helper in reversed(helpers.values()):  # the later ones hold the pipes of the earlier ones, too
            helper.end()


def _ids(thread: int) -> tuple[object, ...]:
    with open(f"/proc/{thread}/status") as lines:
        found = dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)
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
        said, tell = os.pipe()
        until, self._until_closed = os.pipe()
        self._keeper = os.fork()
        if self._keeper == 0:
            try:
                os.close(self._until_closed)
                _keep(init, who, tell, until)
            finally:
                os._exit(0)
        os.close(tell)
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


def _keep(init: int, who: tuple[object, ...], tell: int, until: int) -> None:
    """A helper, until nobody has the other end of `until` any more."""
    namespace = os.open(f"/proc/{init}/ns/pid", os.O_RDONLY)
    _checked(_libc.setns(namespace, CLONE_NEWPID), "setns")
    helper = os.fork()
    if helper == 0:
        _become(who)
        os.write(tell, b"%d\n" % os.getpid())
        while True:
            signal.pause()
    os.close(tell)
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


def _is_restricted(thread: int, helper: int) -> bool | None:
    """None: a filter keeps the thread from asking."""
    call = _syscall_address(thread)
    _ptrace(_SEIZE, thread, 0, _TRACE_SYSCALLS)
    _ptrace(_INTERRUPT, thread, 0, 0)
    kept = [_stop(thread)]
    saved = _registers(thread)
    try:
        if _ask(thread, saved, call, 0, kept) != -EFAULT:
            return None
        return _ask(thread, saved, call, helper, kept) == -EPERM
    finally:
        # Back in a stop where the kernel looks at what was interrupted, as if nothing had been.
        _put(thread, saved)
        _ptrace(_INTERRUPT, thread, 0, 0)
        _ptrace(_CONT, thread, 0, 0)
        kept.append(_stop(thread))
        _put(thread, saved)
        _ptrace(_DETACH, thread, 0, next((number for number in kept if number), 0))


def _ask(thread: int, saved: list[int], call: int, about: int, kept: list[int]) -> int:
    """What get_robust_list(about) returns in the thread."""
    words = list(saved)
    words[_AX], words[_ORIG_AX], words[_IP] = GET_ROBUST_LIST, (1 << 64) - 1, call
    words[_DI], words[_SI], words[_DX] = about, 0, 0
    _put(thread, words)
    for _ in range(2):  # at its entry, and at its end
        _ptrace(_SYSCALL, thread, 0, 0)
        while (number := _stop(thread, raw=True)) != _SYSCALL_STOP:
            kept.append(number)
            _ptrace(_SYSCALL, thread, 0, 0)
    return ctypes.c_int64(_registers(thread)[_AX]).value


def _syscall_address(thread: int) -> int:
    """Of a system call instruction in the kernel's own page of every process (vdso(7)): no code is changed."""
    with open(f"/proc/{thread}/maps") as lines:
        line = next((line for line in lines if line.rstrip().endswith("[vdso]")), "")
    start, _, end = line.partition(" ")[0].partition("-")
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        memory.seek(int(start, 16))
        at = memory.read(int(end, 16) - int(start, 16)).find(_INSTRUCTION)
    if at < 0:
        raise OSError("no system call instruction in the vdso")
    return int(start, 16) + at


def _stop(thread: int, raw: bool = False) -> int:
    """Wait until it stops; the signal that the stop kept from it, 0 for none."""
    until = time.monotonic() + STOPS_WITHIN_S
    while time.monotonic() < until:
        found, status = os.waitpid(thread, os.WNOHANG | _WALL)
        if found:
            if not os.WIFSTOPPED(status):
                raise ProcessLookupError
            number = os.WSTOPSIG(status)
            if status >> 16 == _EVENT_STOP:
                return 0
            return number if raw or number != _SYSCALL_STOP else 0
        time.sleep(0.0005)
    raise TimeoutError


def _registers(thread: int) -> list[int]:
    buffer = ctypes.create_string_buffer(_SIZE)
    vector = struct.pack("PQ", ctypes.addressof(buffer), _SIZE)
    holder = ctypes.create_string_buffer(vector)
    _ptrace(_GETREGSET, thread, _NT_PRSTATUS, ctypes.addressof(holder))
    if struct.unpack_from("PQ", holder.raw)[1] != _SIZE:
        raise OSError("the thread is not of this machine's own kind")
    return list(struct.unpack("27Q", buffer.raw[:_SIZE]))


def _put(thread: int, words: list[int]) -> None:
    buffer = ctypes.create_string_buffer(struct.pack("27Q", *words), _SIZE)
    holder = ctypes.create_string_buffer(struct.pack("PQ", ctypes.addressof(buffer), _SIZE))
    _ptrace(_SETREGSET, thread, _NT_PRSTATUS, ctypes.addressof(holder))


def _ptrace(request: int, thread: int, address: int, data: int) -> None:
    if _libc.ptrace(request, thread, address, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace({request:#x}) of thread {thread}: {os.strerror(number)}")


def _checked(result: int, call: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(word) for word in sys.argv[2:]])
