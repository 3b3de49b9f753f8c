"""Prints what is in the System V objects of its IPC namespace: values of semaphores, digests of memory and messages.

A program on its own, for nsenter(1). Nothing is taken out: memory is attached for reading, messages are copied
(MSG_COPY).
"""

import ctypes
import hashlib
import struct
import sys
from collections.abc import Iterator

GETALL = 13
SHM_RDONLY = 0o10000
MSG_NOERROR, IPC_NOWAIT, MSG_COPY = 0o10000, 0o4000, 0o40000
MOST_BYTES = 1 << 16  # of a message; kernel.msgmax is 8192 where nobody raised it

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.msgrcv.restype = ctypes.c_ssize_t


def listed(kind: str) -> Iterator[dict[str, str]]:
    with open(f"/proc/sysvipc/{kind}") as file:
        names = next(file).split()
        for line in file:
            yield dict(zip(names, line.split(), strict=False))


def semaphores(one: dict[str, str]) -> str:
    values = (ctypes.c_ushort * int(one["nsems"]))()
    if libc.semctl(int(one["semid"]), 0, GETALL, ctypes.byref(values)) < 0:
        return "unreadable"
    return " ".join(map(str, values))


def memory(one: dict[str, str]) -> str:
    address = libc.shmat(int(one["shmid"]), None, SHM_RDONLY)
    if address in (None, (1 << 64) - 1):
        return "unreadable"
    digest = hashlib.sha256((ctypes.c_char * int(one["size"])).from_address(address)).hexdigest()
    libc.shmdt(ctypes.c_void_p(address))
    return digest[:16]


def messages(one: dict[str, str]) -> str:
    """Type, size and digest of each, in their order."""
    found = []
    buffer = ctypes.create_string_buffer(8 + MOST_BYTES)
    flags = MSG_COPY | IPC_NOWAIT | MSG_NOERROR
    for number in range(int(one["qnum"])):
        size = libc.msgrcv(
            int(one["msqid"]), buffer, ctypes.c_size_t(MOST_BYTES), ctypes.c_long(number), flags
        )
        if size < 0:
            break
        (kind,) = struct.unpack_from("l", buffer)
        found.append(f"{kind}:{size}:{hashlib.sha256(buffer.raw[8 : 8 + size]).hexdigest()[:12]}")
    return " ".join(found)


def main() -> None:
    """A line for each: `KIND/KEY/ID/holds WHAT`."""
    for kind, name, holds in (
        ("sem", "semid", semaphores),
        ("shm", "shmid", memory),
        ("msg", "msqid", messages),
    ):
        for one in listed(kind):
            sys.stdout.write(f"{kind}/{one['key']}/{one[name]}/holds {holds(one)}\n")


if __name__ == "__main__":
    main()
