"""A session keyring of its own for a container, as `runc init` makes one (keyctl(2), session-keyring(7)).

runc's is called `_ses.ID`, and may be searched by its user, so that a process exec'd into the container joins it
(libcontainer/standard_init_linux.go, getSessionRingParams). Used by the runtime: standard library only.
"""

import ctypes
import errno
import os

KEYCTL_JOIN_SESSION_KEYRING, KEYCTL_SETPERM, KEYCTL_DESCRIBE = 1, 5, 6  # uapi/linux/keyctl.h
KEY_USR_SEARCH = 0x00080000
_NR_KEYCTL = {"x86_64": 250, "aarch64": 219}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def join(name: str) -> int:
    """Give this process a session keyring of that name, which its children inherit; its serial number.

    0 where the kernel has no keyrings, as runc takes it. Raises OSError.
    """
    text = ctypes.c_char_p(name.encode())
    try:
        serial = _keyctl(KEYCTL_JOIN_SESSION_KEYRING, text)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return 0
        raise
    said = ctypes.create_string_buffer(256)
    _keyctl(KEYCTL_DESCRIBE, serial, said, len(said))
    permissions = int(said.value.split(b";")[3], 16)  # type;uid;gid;permissions;description
    _keyctl(KEYCTL_SETPERM, serial, permissions | KEY_USR_SEARCH)
    return serial


def _keyctl(operation: int, *arguments: object) -> int:
    number = _NR_KEYCTL.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    words = (ctypes.c_long(one) if isinstance(one, int) else one for one in arguments)
    done = int(_libc.syscall(ctypes.c_long(number), ctypes.c_long(operation), *words))
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"keyctl({operation}): {os.strerror(code)}")
    return done
