"""What `runc init` gives to the processes that it starts, and a restore has to give to those that it brings back."""

import ctypes
import os
import platform

libc = ctypes.CDLL(None, use_errno=True)
KEYCTL = {"x86_64": 250, "aarch64": 219}[platform.machine()]
DESCRIBE, SESSION = 6, -3
RESTORED = "/run/glowplug/restored"


def session_keyring():
    """Of the container's own, another one in each."""

    def look():
        buffer = ctypes.create_string_buffer(256)
        assert libc.syscall(KEYCTL, DESCRIBE, SESSION, buffer, 256) > 0, "there is none"
        kind, _, _, permissions, name = buffer.value.decode().split(";", 4)
        assert kind == "keyring" and name.startswith("_ses."), name
        assert int(permissions, 16) & 0x80000, "processes that are exec'd can't join it"
        return name

    first = look()

    def check():
        assert (look() != first) == os.path.exists(RESTORED), f"was {first}, is {look()}"

    return check


def standard_streams():
    """Opened by their names, as `echo >/dev/stderr` does."""
    user = os.fstat(2).st_uid

    def check():
        assert os.fstat(2).st_uid == user, os.fstat(2).st_uid
        with open("/dev/stderr", "w") as file:
            file.write("opened by its name\n")

    return check


def own_directory():
    """/proc/self, which programs keep open to look at themselves."""
    fd = os.open("/proc/self", os.O_RDONLY)

    def check():
        with open(os.open("status", os.O_RDONLY, dir_fd=fd)) as file:
            assert f"Pid:\t{os.getpid()}\n" in file.read()

    return check
