"""A process with memory of every kind, for the tests of memory extents. Runs alone inside a container.

    memory_target.py LAYOUT

LAYOUT is JSON: {"mappings": [{"kind", "pages", "runs": [[first, count, what], …]}, …], "children": N}. Kinds are
those of `make`; what a run of pages is filled with is said by `fill`. Files are the mappings' own, `/tmp/file-N` for
mapping N, and end in the middle of the last page. Children are forked when all is filled; each then writes a page of
its own into every private mapping. Each line on stdin is answered with one line of
JSON: `hash` by the digests of all mappings of all processes, `end` by nothing.
Standard library only, and no more of it than needed: its own memory is to be small.
"""

import ctypes
import hashlib
import json
import os
import sys

PAGE = 4096
PROT_NONE, PROT_READ, PROT_WRITE = 0, 1, 2
MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS, MAP_NORESERVE = 1, 2, 0x20, 0x4000
MADV_NOHUGEPAGE = 15

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def make(kind: str, pages: int, number: int) -> int:
    """A mapping of ``pages`` pages, the layout's with this number; its address."""
    flags = {
        "private": MAP_PRIVATE | MAP_ANONYMOUS,
        "small-pages": MAP_PRIVATE | MAP_ANONYMOUS,
        "noreserve": MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
        "locked": MAP_PRIVATE | MAP_ANONYMOUS,
        "guarded": MAP_PRIVATE | MAP_ANONYMOUS,
        "read-only": MAP_PRIVATE | MAP_ANONYMOUS,
        "shared": MAP_SHARED | MAP_ANONYMOUS,
        "memfd": MAP_SHARED,
        "memfd-private": MAP_PRIVATE,
        "dev-zero": MAP_PRIVATE,
        "file": MAP_PRIVATE,
        "file-deleted": MAP_PRIVATE,
        "file-read-only": MAP_PRIVATE,
    }[kind]
    fd = -1
    if kind.startswith("memfd"):
        fd = os.memfd_create("weights")
        os.ftruncate(fd, pages * PAGE)
    elif kind == "dev-zero":
        fd = os.open("/dev/zero", os.O_RDWR)
    elif kind.startswith("file"):
        fd = os.open(f"/tmp/file-{number}", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        os.write(fd, b"file" * (pages * PAGE // 4 - PAGE // 8))
    address = libc.mmap(None, pages * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0)
    if kind.startswith("file"):
        os.close(fd)
    if kind == "file-deleted":
        os.unlink(f"/tmp/file-{number}")
    assert isinstance(address, int) and address != ctypes.c_void_p(-1).value, os.strerror(ctypes.get_errno())
    if kind == "small-pages":
        assert libc.madvise(address, pages * PAGE, MADV_NOHUGEPAGE) == 0
    return address


def finish(kind: str, address: int, pages: int) -> None:
    """What is done to a mapping when it is filled."""
    if kind == "locked" and libc.mlock(address, pages * PAGE):
        raise OSError(ctypes.get_errno(), "mlock")
    if kind == "guarded":
        libc.mprotect(address, PAGE, PROT_NONE)
        libc.mprotect(address + pages // 2 * PAGE, PAGE, PROT_NONE)
    if kind in ("read-only", "file-read-only"):
        libc.mprotect(address, pages * PAGE, PROT_READ)


def fill(address: int, runs: list[tuple[int, int, str]], seed: int) -> None:
    noise = bytearray(os.urandom(1 << 20))
    for first, count, what in runs:
        for page in range(first, first + count):
            if what == "random":
                at = page % 256 * PAGE
                noise[at : at + 16] = seed.to_bytes(8, "little") + page.to_bytes(8, "little")
                data = bytes(noise[at : at + PAGE])
            elif what == "zero":
                data = bytes(PAGE)
            elif what == "last":
                data = bytes(PAGE - 1) + b"\1"
            else:
                data = (page % 251).to_bytes(1, "little") * PAGE
            ctypes.memmove(address + page * PAGE, data, PAGE)


def digest(kind: str, address: int, pages: int) -> str:
    """Of all its bytes; holes read as zero."""
    state = hashlib.sha256()
    forbidden = {0, pages // 2} if kind == "guarded" else set()
    at = 0
    while at < pages:
        step = 1 if forbidden else min(256, pages - at)
        if at not in forbidden:
            state.update(ctypes.string_at(address + at * PAGE, step * PAGE))
        at += step
    return state.hexdigest()


def digests(mappings: list[tuple[str, int, int]]) -> list[str]:
    return [digest(kind, address, pages) for kind, address, pages in mappings]


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    layout = json.loads(sys.argv[1])
    mappings = []
    for seed, mapping in enumerate(layout["mappings"]):
        address = make(mapping["kind"], mapping["pages"], seed)
        fill(address, mapping["runs"], seed)
        finish(mapping["kind"], address, mapping["pages"])
        mappings.append((mapping["kind"], address, mapping["pages"]))
    children = []
    for child in range(layout.get("children", 0)):
        ask_read, ask_write = os.pipe()
        answer_read, answer_write = os.pipe()
        if os.fork() == 0:
            os.close(ask_write)
            for kind, address, _ in mappings:
                if kind in ("private", "small-pages", "file"):
                    ctypes.memmove(address, b"child %d" % child, 7)
            while os.read(ask_read, 1):
                os.write(answer_write, json.dumps(digests(mappings)).encode() + b"\n")
            os._exit(0)
        children.append((ask_write, answer_read))
    say("ready")
    for line in sys.stdin:
        if line.strip() == "end":
            break
        found = [digests(mappings)]
        for ask, answer in children:
            os.write(ask, b"?")
            said = b""
            while not said.endswith(b"\n"):
                said += os.read(answer, 65536)
            found.append(json.loads(said))
        say(found)


main()
