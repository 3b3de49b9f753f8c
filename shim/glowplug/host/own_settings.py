"""Settings of prctl(2) and arch_prctl(2) that no file of /proc shows and CRIU does not know: only the process itself
can report them, and only it can set them again; and personality(2), which anybody can read.

Names and numbers: uapi/linux/prctl.h, asm/prctl.h of x86-64. What CRIU knows (parent-death signal, dumpable, kept
capabilities, secure bits, sub-reaper, …) is not here; docs/edits.md has the entire list.
Used by the runtime: standard library only.
"""

import os
import struct
from collections.abc import Callable
from typing import NamedTuple

from glowplug.host.remote_calls import Thread

PRCTL, ARCH_PRCTL, MMAP, MUNMAP, PERSONALITY = 157, 158, 9, 11, 135
ASK_PERSONALITY = 0xFFFFFFFF
SET_THP_DISABLE, GET_THP_DISABLE, EXCEPT_ADVISED = 41, 42, 2
GET_TSC, SET_TSC, TSC_ENABLE = 25, 26, 1
MCE_KILL, MCE_KILL_GET, MCE_KILL_SET, MCE_KILL_DEFAULT = 33, 34, 1, 2
GET_SPECULATION_CTRL, SET_SPECULATION_CTRL, SPEC_PRCTL = 52, 53, 1
SET_MDWE, GET_MDWE = 65, 66
SET_MEMORY_MERGE, GET_MEMORY_MERGE = 67, 68
GET_CPUID, SET_CPUID = 0x1011, 0x1012
GET_XCOMP_PERM, REQ_XCOMP_PERM, XTILEDATA = 0x1022, 0x1023, 18
PAGE = 4096
_INT = (1 << 32) - 1
_READ_WRITE, _SHARED_ANONYMOUS = 3, 0x21  # which RLIMIT_DATA does not count


class Setting(NamedTuple):
    """`usual`: what a new process has, -1 where that depends on the machine. `ask`, `set`: number and arguments of a
    call; a `*` of `ask` stands for where the kernel writes the value. `kept`: those of its bits that are set again."""

    name: str
    is_threads: bool
    usual: int
    ask: tuple[int | str, ...]
    set: Callable[[int], tuple[int, ...]]
    kept: int = (1 << 64) - 1


def _speculation(which: int, name: str) -> Setting:
    def again(value: int) -> tuple[int, ...]:
        return PRCTL, SET_SPECULATION_CTRL, which, value & ~SPEC_PRCTL

    return Setting(name, True, -1, (PRCTL, GET_SPECULATION_CTRL, which), again)


SETTINGS = (
    Setting("mdwe", False, 0, (PRCTL, GET_MDWE), lambda value: (PRCTL, SET_MDWE, value)),
    Setting(
        "memory-merge", False, 0, (PRCTL, GET_MEMORY_MERGE), lambda value: (PRCTL, SET_MEMORY_MERGE, value)
    ),
    Setting(
        "huge-pages-as-advised",
        False,
        0,
        (PRCTL, GET_THP_DISABLE),
        lambda value: (PRCTL, SET_THP_DISABLE, 1, value),
        EXCEPT_ADVISED,
    ),
    Setting(
        "amx",
        False,
        0,
        (ARCH_PRCTL, GET_XCOMP_PERM, "*"),
        lambda _: (ARCH_PRCTL, REQ_XCOMP_PERM, XTILEDATA),
        1 << XTILEDATA,
    ),
    Setting(
        "time-stamp-counter",
        True,
        TSC_ENABLE,
        (PRCTL, GET_TSC, "*"),
        lambda value: (PRCTL, SET_TSC, value),
        _INT,
    ),
    Setting("cpuid", True, 1, (ARCH_PRCTL, GET_CPUID), lambda value: (ARCH_PRCTL, SET_CPUID, value)),
    Setting(
        "mce-kill",
        True,
        MCE_KILL_DEFAULT,
        (PRCTL, MCE_KILL_GET),
        lambda value: (PRCTL, MCE_KILL, MCE_KILL_SET, value),
    ),
    Setting("personality", True, 0, (PERSONALITY, ASK_PERSONALITY), lambda value: (PERSONALITY, value), _INT),
    _speculation(0, "speculative-store"),
    _speculation(1, "speculative-branch"),
    _speculation(2, "l1d-flush"),
)
BY_NAME = {one.name: one for one in SETTINGS}


def read(thread: Thread, is_first: bool, usual: dict[str, int]) -> dict[str, int]:
    """Name → value of those that are not as in a new process; of a process's own only where `is_first` thread asks.

    usual: those that depend on the machine, as this process has them (`own_speculation`).
    """
    found = {}
    settings = [one for one in SETTINGS if (is_first or one.is_threads) and _is_worth_asking(one, usual)]
    with _Answers(thread) as answers:
        for one in settings:
            value = answers.ask(one)
            if value is not None and value & one.kept != usual.get(one.name, one.usual):
                found[one.name] = value & one.kept
    return found


def set_again(thread: Thread, wanted: dict[str, int]) -> None:
    """Raises OSError with the name of one that can't be set."""
    with _Answers(thread) as answers:
        for name, value in wanted.items():
            one = BY_NAME[name]
            if answers.has(one, value):
                continue
            result = thread.call(*one.set(value))
            if not answers.has(one, value):
                raise OSError(-result, f"{name} of {value:#x} can't be set again: {os.strerror(-result)}")


def own_speculation() -> dict[str, int]:
    """What this process has of the settings that depend on the machine: as a new one, unless somebody set them."""
    import ctypes  # of no use to a restore

    libc = ctypes.CDLL(None)
    return {one.name: int(libc.prctl(*map(int, one.ask[1:]), 0, 0, 0)) for one in SETTINGS if one.usual == -1}


def _is_worth_asking(one: Setting, usual: dict[str, int]) -> bool:
    """Speculation where this machine lets a process choose at all."""
    return one.usual != -1 or (usual[one.name] > 0 and bool(usual[one.name] & SPEC_PRCTL))


class _Answers:
    """Asks, with a page of the process's memory where the kernel may write an answer, made when it is needed first."""

    def __init__(self, thread: Thread) -> None:
        self._thread = thread
        self._page = 0

    def __enter__(self) -> "_Answers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._page:
            self._thread.call(MUNMAP, self._page, PAGE)

    def ask(self, one: Setting) -> int | None:
        """None where this kernel or CPU has no such setting."""
        arguments = [self._buffer() if word == "*" else int(word) for word in one.ask]
        result = self._thread.call(*arguments)
        if result < 0:
            return None
        return self._written() if "*" in one.ask else result

    def has(self, one: Setting, value: int) -> bool:
        now = self.ask(one)
        return now is not None and now & one.kept == value

    def _buffer(self) -> int:
        if not self._page:
            found = self._thread.call(MMAP, 0, PAGE, _READ_WRITE, _SHARED_ANONYMOUS, (1 << 64) - 1, 0)
            if found < 0:
                why = "its limits (RLIMIT_AS, RLIMIT_MEMLOCK) leave it no page of memory"
                raise OSError(-found, f"thread {self._thread.number} can't say: {why}")
            self._page = found
        return self._page

    def _written(self) -> int:
        with open(f"/proc/{self._thread.number}/mem", "rb", buffering=0) as memory:
            memory.seek(self._page)
            return int(struct.unpack("Q", memory.read(8))[0])
