"""The system calls that move memory, each a function that raises OSError. Python lets go of its lock in them.

Addresses and sizes in bytes. Used by the runtime: standard library only.
"""

import ctypes
import errno
import os
from array import array
from collections.abc import Callable

_PAGE = 4096
_PROT_READ, _PROT_WRITE = 1, 2
_MAP_SHARED, _MAP_PRIVATE, _MAP_ANONYMOUS = 0x01, 0x02, 0x20
_MADV_DONTNEED, _MADV_HUGEPAGE = 4, 14
_MADV_POPULATE_READ = 22  # Linux 5.14
_FAILED = ctypes.c_void_p(-1).value
# linux/userfaultfd.h
_SYS_USERFAULTFD = {"x86_64": 323, "aarch64": 282}
_UFFD_API, _UFFDIO_API, _UFFDIO_REGISTER, _UFFDIO_COPY = 0xAA, 0xC018AA3F, 0xC020AA00, 0xC028AA03
_UFFDIO_REGISTER_MODE_MISSING, _UFFDIO_COPY_MODE_DONTWAKE = 1, 1

_int, _long, _ulong, _size, _pointer = (
    ctypes.c_int,
    ctypes.c_long,
    ctypes.c_ulong,
    ctypes.c_size_t,
    ctypes.c_void_p,
)
_libc = ctypes.CDLL(None, use_errno=True)
for _name, _result, _arguments in (
    ("mmap", _pointer, [_pointer, _size, _int, _int, _int, _long]),
    ("munmap", _int, [_pointer, _size]),
    ("madvise", _int, [_pointer, _size, _int]),
    ("mincore", _int, [_pointer, _size, _pointer]),
    ("pread", ctypes.c_ssize_t, [_int, _pointer, _size, _long]),
    ("pwrite", ctypes.c_ssize_t, [_int, _pointer, _size, _long]),
    ("syscall", _long, [_long, _int]),
    ("ioctl", _int, [_int, _ulong, _pointer]),
    ("process_vm_readv", ctypes.c_ssize_t, [_int, _pointer, _ulong, _pointer, _ulong, _ulong]),
    ("process_vm_writev", ctypes.c_ssize_t, [_int, _pointer, _ulong, _pointer, _ulong, _ulong]),
):
    getattr(_libc, _name).restype = _result
    getattr(_libc, _name).argtypes = _arguments


def map_file(fd: int, size: int) -> int:
    """Where the file's bytes are now, to be read."""
    return _map(size, _PROT_READ, _MAP_SHARED, fd, 0)


def map_shared(fd: int, offset: int, size: int) -> int:
    """Where the file's bytes are now, to be read and written."""
    return _map(size, _PROT_READ | _PROT_WRITE, _MAP_SHARED, fd, offset)


def map_memory(size: int) -> int:
    """New memory, of huge pages where there are any."""
    address = _map(size, _PROT_READ | _PROT_WRITE, _MAP_PRIVATE | _MAP_ANONYMOUS, -1, 0)
    _libc.madvise(address, size, _MADV_HUGEPAGE)
    return address


def populate(address: int, size: int) -> None:
    """Bring a part of a mapping into our page tables at once. Where that can't be, each page comes when it is used."""
    _libc.madvise(address, size, _MADV_POPULATE_READ)


def forget_pages(address: int, size: int) -> None:
    """Our page tables forget a part of a shared mapping; its content stays where it is."""
    _checked(_libc.madvise(address, size, _MADV_DONTNEED))


def unmap(address: int, size: int) -> None:
    """munmap(2)."""
    _libc.munmap(address, size)


def resident(address: int, size: int) -> int:
    """How many pages of a mapped file are in the page cache; 0 where the kernel does not say."""
    pages = (ctypes.c_ubyte * (size // _PAGE))()
    return bytes(pages).count(1) if _libc.mincore(address, size, pages) == 0 else 0


def read(fd: int, address: int, size: int, offset: int) -> int:
    """Bytes read from a file at offset into memory at address; 0 at its end."""
    while True:
        count = int(_libc.pread(fd, address, size, offset))
        if count >= 0:
            return count
        if ctypes.get_errno() != errno.EINTR:
            raise _error()


def write_process(pid: int, here: "array[int]", there: "array[int]") -> int:
    """Bytes written from our memory into a process's; fewer than requested from where it has no such mapping.

    here, there: address, length; address, length; … in bytes, of at most 1024 pieces (IOV_MAX) each.
    """
    return _process(_libc.process_vm_writev, pid, here, there)


def force_process(pid: int, here: "array[int]", there: "array[int]") -> int:
    """As write_process, where the process itself may read and not write too, if `forces_writes`. In private memory
    it gets a copy of the page, as by its own write (proc_pid_mem(5), FOLL_FORCE)."""
    written = 0
    fd = os.open(f"/proc/{pid}/mem", os.O_WRONLY | os.O_CLOEXEC)
    try:
        for at in range(0, len(here), 2):
            count = int(_libc.pwrite(fd, here[at], here[at + 1], there[at]))
            written += max(count, 0)
            if count != here[at + 1]:
                break
    finally:
        os.close(fd)
    return written


def forces_writes() -> bool:
    """Whether the kernel lets us use `force_process`: not where proc_mem.force_override (Linux 6.12) is `never` or
    `ptrace`."""
    address = _map(_PAGE, _PROT_READ, _MAP_PRIVATE | _MAP_ANONYMOUS, -1, 0)
    try:
        one = array("Q", (address, 1))
        return force_process(os.getpid(), one, one) == 1
    except OSError:
        return False
    finally:
        unmap(address, _PAGE)


def read_process(pid: int, here: "array[int]", there: "array[int]") -> int:
    """Bytes read from a process's memory into ours. Else as write_process."""
    return _process(_libc.process_vm_readv, pid, here, there)


def userfault() -> int:
    """A descriptor through which pages can be put into our own mappings, see `put` (userfaultfd(2))."""
    number = _SYS_USERFAULTFD.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fd = _checked(_libc.syscall(number, os.O_CLOEXEC))
    _ioctl(fd, _UFFDIO_API, _UFFD_API, 0, 0)
    return fd


def expect(userfault: int, address: int, size: int) -> None:
    """Have the missing pages of one of our mappings be put there by `put`."""
    _ioctl(userfault, _UFFDIO_REGISTER, address, size, _UFFDIO_REGISTER_MODE_MISSING, 0)


def put(userfault: int, address: int, here: int, size: int) -> None:
    """Copy memory at here into missing pages at address: without clearing them first, and without a fault."""
    _ioctl(userfault, _UFFDIO_COPY, address, here, size, _UFFDIO_COPY_MODE_DONTWAKE, 0)


def _ioctl(fd: int, request: int, *words: int) -> None:
    argument = array("Q", words)
    _checked(_libc.ioctl(fd, request, argument.buffer_info()[0]))


def _process(call: Callable[..., int], pid: int, here: "array[int]", there: "array[int]") -> int:
    (ours, our_words), (theirs, their_words) = here.buffer_info(), there.buffer_info()
    return _checked(call(pid, ours, our_words // 2, theirs, their_words // 2, 0))


def _map(size: int, prot: int, flags: int, fd: int, offset: int) -> int:
    address = _libc.mmap(None, size, prot, flags, fd, offset)
    if address is None or address == _FAILED:
        raise _error()
    return int(address)


def _checked(count: int) -> int:
    if count < 0:
        raise _error()
    return count


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
