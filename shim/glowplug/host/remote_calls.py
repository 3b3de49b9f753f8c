"""System calls that a stopped thread is made to make in its own name, as a debugger would (ptrace(2)). x86-64 only.

The instruction is one of the kernel's own page of every process (vdso(7)): no code is changed. A call that the thread
was waiting in is taken up again afterwards. Seccomp filters don't see the calls where this process may suspend them
(PTRACE_O_SUSPEND_SECCOMP: CAP_SYS_ADMIN, no filter of its own); `is_filtered` says where they do: then nothing may be
called, for a filter may kill.

ptrace belongs to the thread that attached. Used by the runtime: standard library only.
"""

import ctypes
import errno
import os
import signal
import struct
import time

from glowplug.host import proc, ptrace

STOPS_WITHIN_S = 2.0
"""Until a thread has stopped it is unharmed, and may be left. From its first call on it has registers that are not its
own, and is waited for however long a busy machine or a CPU limit keeps it: it would continue with them."""
POLL_S = 0.0005
SPINS = 200
"""A call comes to its end at once, most of the time: so often it is looked at without a pause."""

_SYSCALL = 24  # PTRACE_SYSCALL
_TRACESYSGOOD, _SUSPEND_SECCOMP = 1, 1 << 21
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_GET_DISPATCH = 0x4211  # PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, Linux 6.3
_NT_PRSTATUS = 1
_SIZE = 216  # struct user_regs_struct: 27 words
_AX, _ORIG_AX, _IP = 10, 15, 16
_ARGUMENTS = (14, 13, 12, 7, 9, 8)  # rdi, rsi, rdx, r10, r8, r9
_INSTRUCTION = b"\x0f\x05"


def can_call() -> bool:
    """Whether this machine is one whose registers are known here."""
    return os.uname().machine == "x86_64"


class Thread:
    """A thread that is stopped for as long as the context lasts, in a group stop (signal(7)) or not.

    instruction: what `instruction` says of its process, where that is known already.
    Entering raises OSError: ProcessLookupError where it is gone, TimeoutError where it does not stop.
    """

    def __init__(self, number: int, instruction: int = 0) -> None:
        self.number = number
        self.is_filtered = False
        self._kept: list[int] = []
        self._call = instruction

    def __enter__(self) -> "Thread":
        self._call = self._call or instruction(self.number)
        self._seize()
        try:
            ptrace.call(ptrace.PTRACE_INTERRUPT, self.number)
            self._kept.append(self._stop(within_s=STOPS_WITHIN_S))
            self._saved = self._registers()
        except BaseException:
            self._detach()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Back in a stop where the kernel looks at what was interrupted, as if nothing had been.
        try:
            self._put(self._saved)
            ptrace.call(ptrace.PTRACE_INTERRUPT, self.number)
            ptrace.call(ptrace.PTRACE_CONT, self.number)
            self._kept.append(self._stop())
            self._put(self._saved)
        finally:
            self._detach()

    def call(self, number: int, *arguments: int) -> int:
        """What the call returns, a negative errno where it fails. Raises OSError where the thread is gone."""
        words = list(self._saved)
        words[_AX], words[_ORIG_AX], words[_IP] = number, (1 << 64) - 1, self._call
        for at, register in enumerate(_ARGUMENTS):
            words[register] = arguments[at] if at < len(arguments) else 0
        self._put(words)
        for _ in range(2):  # at its entry, and at its end
            ptrace.call(_SYSCALL, self.number)
            while (number := self._stop(raw=True)) != _SYSCALL_STOP:
                self._kept.append(number)
                ptrace.call(_SYSCALL, self.number)
        return ctypes.c_int64(self._registers()[_AX]).value

    def dispatches_calls(self) -> bool:
        """Whether it has system calls of its own turned into signals (PR_SET_SYSCALL_USER_DISPATCH): then none may be
        made here."""
        config = ctypes.create_string_buffer(32)
        try:
            ptrace.call(_GET_DISPATCH, self.number, len(config), ctypes.addressof(config))
        except OSError as error:
            if error.errno == errno.EIO:
                return False  # a kernel before 6.3 does not say
            raise
        return bool(struct.unpack_from("Q", config.raw)[0])

    def _seize(self) -> None:
        try:
            ptrace.call(ptrace.PTRACE_SEIZE, self.number, 0, _TRACESYSGOOD | _SUSPEND_SECCOMP)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise
            ptrace.call(ptrace.PTRACE_SEIZE, self.number, 0, _TRACESYSGOOD)
            self.is_filtered = proc.status(self.number).get("Seccomp", "0") != "0"

    def _detach(self) -> None:
        try:
            ptrace.call(ptrace.PTRACE_DETACH, self.number, 0, next((one for one in self._kept if one), 0))
        except ProcessLookupError:
            return  # it ended, or did not stop: it continues when this process ends

    def _stop(self, raw: bool = False, within_s: float | None = None) -> int:
        """Wait until it stops; the signal that the stop kept from it, 0 for none."""
        began, spins = time.monotonic(), 0
        while within_s is None or time.monotonic() < began + within_s:
            found, status = os.waitpid(self.number, os.WNOHANG | ptrace.WALL)
            if found:
                if not os.WIFSTOPPED(status):
                    raise ProcessLookupError(errno.ESRCH, f"thread {self.number} ended")
                number = os.WSTOPSIG(status)
                if status >> 16 == ptrace.PTRACE_EVENT_STOP:
                    return 0
                return number if raw or number != _SYSCALL_STOP else 0
            spins += 1
            if spins > SPINS:
                time.sleep(POLL_S)
        raise TimeoutError(f"thread {self.number} did not stop within {within_s:g} s")

    def _registers(self) -> list[int]:
        buffer = ctypes.create_string_buffer(_SIZE)
        vector = struct.pack("PQ", ctypes.addressof(buffer), _SIZE)
        holder = ctypes.create_string_buffer(vector)
        ptrace.call(ptrace.PTRACE_GETREGSET, self.number, _NT_PRSTATUS, ctypes.addressof(holder))
        if struct.unpack_from("PQ", holder.raw)[1] != _SIZE:
            raise OSError(errno.ENOEXEC, f"thread {self.number} is not of this machine's own kind")
        return list(struct.unpack("27Q", buffer.raw[:_SIZE]))

    def _put(self, words: list[int]) -> None:
        buffer = ctypes.create_string_buffer(struct.pack("27Q", *words), _SIZE)
        holder = ctypes.create_string_buffer(struct.pack("PQ", ctypes.addressof(buffer), _SIZE))
        ptrace.call(ptrace.PTRACE_SETREGSET, self.number, _NT_PRSTATUS, ctypes.addressof(holder))


def instruction(thread: int) -> int:
    """The address of a system call instruction, the same for all threads of a process.

    Raises OSError: ProcessLookupError where the process has ended and has no memory any more.
    """
    with open(f"/proc/{thread}/maps", "rb") as file:
        mappings = [line.split(None, 5) for line in file]
    if not mappings:
        raise ProcessLookupError(errno.ESRCH, f"thread {thread} has ended")
    # A file of any name may be mapped below it: only the kernel's own mapping has no path at all.
    span = next((span for span, *_, name in mappings if name == b"[vdso]\n"), b"").decode()
    start, _, end = span.partition("-")
    if not start:
        raise OSError(errno.ENOEXEC, f"thread {thread} has no vdso")
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        memory.seek(int(start, 16))
        code = memory.read(int(end, 16) - int(start, 16))
    if not code:
        raise ProcessLookupError(errno.ESRCH, f"thread {thread} has ended")
    at = code.find(_INSTRUCTION)
    if at < 0:
        raise OSError(errno.ENOEXEC, f"thread {thread} has no system call instruction in its vdso")
    return int(start, 16) + at
