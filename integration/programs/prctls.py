"""What prctl(2) sets of a process, each in a child that says it of itself."""

import ctypes
import os
import signal

libc = ctypes.CDLL(None, use_errno=True)
# Name → what sets it, with a value that is not the default; what asks for it, and whether by pointer. PR_SET_MDWE and
# PR_MCE_KILL are lost (docs/edits.md).
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
    """A process that has it, and says so when it is asked; None where the kernel has no such setting."""
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
    found = {}
    for name, setting in KINDS.items():
        question, answer = _child(setting)
        was = os.read(answer, 16)
        if was == b"none\n":
            os.wait()
        else:
            found[name] = question, answer, was

    def check():
        wrong = []
        for name, (question, answer, was) in found.items():
            os.write(question, b"?")
            now = os.read(answer, 16)
            if now != was:
                wrong.append(f"{name}: was {was}, is {now}")
        assert len(found) >= 5, found
        assert not wrong, wrong

    return check
