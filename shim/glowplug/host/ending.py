"""Ending a container's first process from outside, with status 0: what no signal does.

Its process is made to call exit_group(2) itself, as a debugger would (ptrace(2)): stopped, its next instruction
replaced by that call, let go. No handler of its own runs, and nothing that it buffers is written. The kernel
then ends what else is in its PID namespace. Run as a program, `python -IS ending.py PID`, so that the caller
is no debugger of anybody's: that ties processes to threads.
"""

import ctypes
import os
import signal
import struct
import subprocess
import sys
import time

if __name__ == "__main__":  # -I leaves our own package off the path
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from glowplug.host import proc, ptrace

_NT_PRSTATUS = 1  # uapi/linux/elf.h
STOPS_WITHIN_S = 5.0
STOPS_BESIDES = 5
"""Of one that a signal had stopped before, or that was just about to be: it continues from where it was put."""
DONE_WITHIN_S = 20.0

# machine → (bytes of the registers, {number of the register: value}, the program counter's, the instruction)
# Order and numbers: struct user_regs_struct of x86, struct user_pt_regs of arm64; exit_group is 231 and 94.
_MACHINES = {
    "x86_64": (216, {10: 231, 14: 0, 15: (1 << 64) - 1}, 16, b"\x0f\x05"),
    "aarch64": (272, {8: 94, 0: 0}, 32, b"\x01\x00\x00\xd4"),
}


class _Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def end_with_zero(pid: int) -> bool:
    """Whether the process ended with status 0. Where that is impossible it is killed: status 137."""
    try:
        done = subprocess.run(
            [sys.executable, "-IS", os.path.abspath(__file__), str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=DONE_WITHIN_S,
        )
        if done.returncode == 0:
            return True
    except subprocess.TimeoutExpired:
        pass
    kill(pid)
    return False


def kill(pid: int) -> None:
    """SIGKILL; one that is gone is gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def main(pid: int) -> None:
    """Raises OSError where it can't be stopped or does not end."""
    thread = _stopped_thread(pid)
    size, values, counter, instruction = _MACHINES[os.uname().machine]
    registers = ctypes.create_string_buffer(size)
    vector = _Iovec(ctypes.addressof(registers), size)
    ptrace.call(ptrace.PTRACE_GETREGSET, thread, _NT_PRSTATUS, ctypes.addressof(vector))
    if vector.length != size:
        raise OSError("the process is not of this machine's own kind")
    words = list(struct.unpack(f"{size // 8}Q", registers.raw))
    for register, value in values.items():
        words[register] = value
    words[counter] &= ~0xF  # the entire instruction is on a page that is there
    with open(f"/proc/{thread}/mem", "r+b", buffering=0) as memory:
        memory.seek(words[counter])
        memory.write(instruction)
    registers.raw = struct.pack(f"{size // 8}Q", *words)
    ptrace.call(ptrace.PTRACE_SETREGSET, thread, _NT_PRSTATUS, ctypes.addressof(vector))
    for _ in range(STOPS_BESIDES):
        ptrace.call(ptrace.PTRACE_CONT, thread, 0, 0)
        if not os.WIFSTOPPED(status := _waited(thread)):
            break
    if not os.WIFEXITED(status):
        raise OSError("the process did not end as it was made to")


def _stopped_thread(pid: int) -> int:
    """Of a process whose first thread has ended, another one."""
    refused = ProcessLookupError("no thread of it can be stopped")
    for other in proc.tasks(pid):
        try:
            ptrace.call(ptrace.PTRACE_SEIZE, other, 0, 0)
            ptrace.call(ptrace.PTRACE_INTERRUPT, other, 0, 0)
        except OSError:
            continue
        if os.WIFSTOPPED(_waited(other)):
            return other
    raise refused


def _waited(thread: int) -> int:
    """Its next change. Raises TimeoutError."""
    until = time.monotonic() + STOPS_WITHIN_S
    while time.monotonic() < until:
        found, status = os.waitpid(thread, os.WNOHANG | ptrace.WALL)
        if found:
            return status
        time.sleep(0.005)
    raise TimeoutError(f"thread {thread} did not change within {STOPS_WITHIN_S:g} s")


if __name__ == "__main__":
    main(int(sys.argv[1]))
