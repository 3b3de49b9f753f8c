"""System calls that the standard library lacks, one thin function each.

Every failure is an OSError with the kernel's errno and the path it was about. Constants bear their kernel
names (uapi/linux/mount.h, fcntl.h, fs.h). Imported by the runtime: _thread, ctypes, fcntl and os only.
"""

import _thread
import ctypes
import fcntl
import os

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_SYNCHRONOUS = 0x10
MS_MANDLOCK = 0x40
MS_DIRSYNC = 0x80
MS_NOSYMFOLLOW = 0x100
MS_NOATIME = 0x400
MS_REC = 0x4000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_NODIRATIME = 0x800
MS_RELATIME = 0x200000
MS_STRICTATIME = 0x1000000
MS_LAZYTIME = 0x2000000

UMOUNT_NOFOLLOW = 0x8

RENAME_EXCHANGE = 0x2

AT_FDCWD = -100
CLONE_FS = 0x200
CLONE_NEWNS = 0x20000
FICLONE = 0x40049409

# The kernel copies one page of mount options, its NUL included.
MOUNT_DATA_MAX = 4095

_libc = ctypes.CDLL(None, use_errno=True)

_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


def _error(path: str, path2: str | None = None) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path, None, path2)


def mount(source: str, target: str, fstype: str, flags: int, data: str) -> None:
    """mount(2). `data` is the comma-separated option string, at most MOUNT_DATA_MAX bytes."""
    arguments = (os.fsencode(source), os.fsencode(target), os.fsencode(fstype), flags, os.fsencode(data))
    if _libc.mount(*arguments) < 0:
        raise _error(target)


def mount_from(directory: str, source: str, target: str, fstype: str, flags: int, data: str) -> None:
    """mount(2), with `directory` for what paths in `data` are relative to.

    In a thread of its own with a working directory of its own (unshare(2), CLONE_FS): this process keeps its.
    """
    failed: list[OSError] = []
    done = _thread.allocate_lock()
    done.acquire()

    def there() -> None:
        try:
            if _libc.unshare(CLONE_FS) < 0:
                raise _error(directory)
            os.chdir(directory)
            mount(source, target, fstype, flags, data)
        except OSError as error:
            failed.append(error)
        finally:
            done.release()

    _thread.start_new_thread(there, ())
    done.acquire()
    if failed:
        raise failed[0]


def unshare(flags: int) -> None:
    """unshare(2)."""
    if _libc.unshare(flags) < 0:
        raise _error("")


def umount2(target: str, flags: int) -> None:
    """umount2(2)."""
    if _libc.umount2(os.fsencode(target), flags) < 0:
        raise _error(target)


def renameat2(old_fd: int, old: str, new_fd: int, new: str, flags: int) -> None:
    """renameat2(2): with RENAME_EXCHANGE, which os.rename lacks."""
    if _libc.renameat2(old_fd, os.fsencode(old), new_fd, os.fsencode(new), flags) < 0:
        raise _error(old, new)


def clone_file(source_fd: int, target_fd: int) -> None:
    """ioctl FICLONE: the target shares the source's blocks until one is written (btrfs, XFS)."""
    fcntl.ioctl(target_fd, FICLONE, source_fd)
