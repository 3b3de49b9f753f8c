"""What prctl(2) sets of a process, each in a child that says it of itself."""

import ctypes
import os
import platform
import signal
import struct
import threading

libc = ctypes.CDLL(None, use_errno=True)
# Name → what sets it, with a value that is not the default; what asks for it, and whether by pointer.
KINDS = {
    "parent-death signal": (1, signal.SIGUSR1, 2, True),
    "dumpable": (4, 0, 3, False),
    "kept capabilities": (8, 1, 7, False),
    "secure bits": (28, 0b11, 27, False),
    "sub-reaper": (36, 1, 37, True),
    "huge pages off": (41, 1, 42, False),
}


def _ask(number, by_pointer):
    value = ctypes.c_int(0)
    if by_pointer:
        assert not libc.prctl(number, ctypes.byref(value), 0, 0, 0)
        return value.value
    return libc.prctl(number, 0, 0, 0, 0)


def _child(setting):
    """A process that has it, and says so when it is queried; None where the kernel has no such setting."""
    sets, value, asks, by_pointer = setting
    questions, answers = os.pipe(), os.pipe()
    if not os.fork():
        if libc.prctl(sets, value, 0, 0, 0):
            os.write(answers[1], b"none\n")
            os._exit(0)
        while os.write(answers[1], b"%d\n" % _ask(asks, by_pointer)):
            os.read(questions[0], 1)
    return questions[1], answers[0]


def all_kinds():
    """Each that this kernel lets a container set."""
    return _same({name: _child(setting) for name, setting in KINDS.items()}, 5)


PRCTL, ARCH_PRCTL, READ = {"x86_64": (157, 158, 0), "aarch64": (167, 0, 63)}[platform.machine()]
# What no other process can read or set (host/own_settings.py): a call that sets it; one that asks, and if by pointer.
MDWE = "no memory gains execution"
OWN_KINDS = {
    MDWE: ((PRCTL, 65, 1, 0, 0, 0), (PRCTL, 66, 0, 0, 0, 0), False),
    "the same, not inherited": ((PRCTL, 65, 3, 0, 0, 0), (PRCTL, 66, 0, 0, 0, 0), False),
    "equal pages merge": ((PRCTL, 67, 1, 0, 0, 0), (PRCTL, 68, 0, 0, 0, 0), False),
    "huge pages as advised": ((PRCTL, 41, 1, 2, 0, 0), (PRCTL, 42, 0, 0, 0, 0), False),
    "tiles": ((ARCH_PRCTL, 0x1023, 18), (ARCH_PRCTL, 0x1022), True),
    "time-stamp counter": ((PRCTL, 26, 2, 0, 0, 0), (PRCTL, 25), True),
    "cpuid": ((ARCH_PRCTL, 0x1012, 0), (ARCH_PRCTL, 0x1011, 0), False),
    "memory errors": ((PRCTL, 33, 1, 1, 0, 0), (PRCTL, 34, 0, 0, 0, 0), False),
    "personality": ((135, 0x40000), (135, 0xFFFFFFFF), False),
    "speculation": ((PRCTL, 53, 0, 8, 0, 0), (PRCTL, 52, 0, 0, 0, 0), False),
}


def _own(asks, by_pointer):
    value = ctypes.c_uint64(0)
    result = libc.syscall(*asks, ctypes.byref(value), 0, 0, 0) if by_pointer else libc.syscall(*asks)
    return value.value & 0x40000 or value.value if by_pointer else result


def _begun(begin):
    """Runs begin(work) in a child, where `work` answers a question after the other; the pipes."""
    questions, answers = os.pipe(), os.pipe()

    def work(kind):
        sets, asks, by_pointer = OWN_KINDS[kind or MDWE]
        if kind and libc.syscall(*sets) < 0:
            os.write(answers[1], b"none\n")
            os._exit(0)
        while os.write(answers[1], b"%d\n" % _own(asks, by_pointer)):
            os.read(questions[0], 1)

    if not os.fork():
        begin(work)
    return questions[1], answers[0]


def _same(begun, least):
    """A check that each says what it said at first, of those that this kernel and CPU have."""
    found = {}
    for name, (question, answer) in begun.items():
        was = os.read(answer, 32)
        if was != b"none\n":
            found[name] = question, answer, was

    def check():
        wrong = []
        for name, (question, answer, was) in found.items():
            os.write(question, b"?")
            now = os.read(answer, 32)
            if now != was:
                wrong.append(f"{name}: was {was}, is {now}")
        assert len(found) >= least, found
        assert not wrong, wrong

    return check


def own_kinds():
    """Each in a child."""
    return _same({kind: _begun(lambda work, kind=kind: work(kind)) for kind in OWN_KINDS}, 4)


def own_of_threads():
    """Each in a thread of a child that has a thread without it."""

    def begin(kind):
        def in_thread(work):
            never, _kept = os.pipe()
            threading.Thread(target=_after_a_read_of, args=(never, lambda: work(kind))).start()
            os.read(never, 1)

        return in_thread

    return _same({kind: _begun(begin(kind)) for kind in ("memory errors", "time-stamp counter", "cpuid")}, 1)


def _after_a_read_of(descriptor, work):
    """Begins once the first thread reads it, and so needs the interpreter's lock no more.

    A thread that waits for the lock asks for the time, by the time-stamp counter: one that may not is killed for it.
    """
    expected = f"{READ} {descriptor:#x} "
    answer = ""
    while not answer.startswith(expected):
        with open(f"/proc/self/task/{os.getpid()}/syscall") as file:
            answer = file.read()
    work()


def own_of_a_grandchild():
    """In a session of its own, of another user, below a parent that is gone."""

    def begin(work):
        if os.fork():
            os._exit(0)
        os.setsid()
        work(MDWE)

    check = _same({"grandchild": _begun(begin)}, 1)
    os.wait()
    return check


def own_below_a_filter():
    """Of a seccomp filter that would kill it for setting it again."""

    def begin(work):
        assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(65, 1, 0, 0, 0) == 0
        words = [(0x20, 0, 0, 0), (0x15, 0, 3, PRCTL), (0x20, 0, 0, 16), (0x15, 0, 1, 65)]
        words += [(6, 0, 0, 0x80000000), (6, 0, 0, 0x7FFF0000)]
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *word) for word in words))
        holder = struct.pack("HxxxxxxP", len(words), ctypes.addressof(program))
        assert libc.prctl(22, 2, ctypes.create_string_buffer(holder), 0, 0) == 0
        work(None)

    return _same({"filtered": _begun(begin)}, 1)
