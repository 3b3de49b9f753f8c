"""Descriptors on their way through a Unix socket that no process holds, of kinds that CRIU finishes by a holder.

CRIU arms a timerfd, adds an inotify's watches and takes a TCP connection out of repair by the descriptor of a process
that has it. In a socket's queue there is none: the timer never fires, the connection answers EPERM, the watches are
the restore's failure. Field numbers: images/fdinfo.proto, sk-inet.proto.
"""

from glowplug.criu import images
from glowplug.criu.images import Message
from glowplug.errors import NotRestorable

_FILE_ID, _FD_ID = 2, 1
_SOCKET, _TIMER, _INOTIFY, _FANOTIFY = 4, 12, 13, 14
_KINDS = {_TIMER: "timerfd", _INOTIFY: "inotify", _FANOTIFY: "fanotify"}
_TYPE, _STATE, _SOCK_STREAM = 4, 6, 1
_ALONE = (7, 10)
"""TCP_CLOSE, TCP_LISTEN: sockets without a connection (net/tcp_states.h)."""


def require_none(images_dir: str) -> None:
    """Of a dump whose connections to the outside are closed already. Raises NotRestorable, ImageError."""
    owned = {
        entry.integer(_FD_ID)
        for _, name in images.names(images_dir, "fdinfo")
        for entry in images.load(images_dir, name, "fdinfo")
    }
    for entry in images.load(images_dir, "files.img", "files"):
        what = _kind(entry)
        if what and entry.integer(_FILE_ID) not in owned:
            raise NotRestorable(
                f"the checkpoint can't be restored, so it is not kept: {what} is on its way through a Unix socket and "
                "open in no process: try again when it was received"
            )


def _kind(entry: Message) -> str:
    socket = entry.message(_SOCKET)
    if socket is not None and socket.integer(_TYPE) == _SOCK_STREAM and socket.integer(_STATE) not in _ALONE:
        return "a TCP connection inside"
    return next((f"a descriptor of {name}" for number, name in _KINDS.items() if entry.message(number)), "")
