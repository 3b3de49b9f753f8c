"""TCP and UDP sockets in CRIU's images: which connections live on, and which address a socket is bound to.

CRIU restores a connection by binding the old local address and putting the socket back in the middle of
the conversation (criu/sk-inet.c, soccr/). That is right for a connection whose two ends are both in the
images. For any other the peer is gone and the address is another pod's, so its entry is made that of an
unbound socket, shut down both ways: the process reads an end of file, or gets EPIPE and EPOLLHUP, as if the
peer had hung up.

`tcp-established` must be set at restore, and `tcp-close` must not: it would close the inside ones too.
"""

import ipaddress
import os
from collections.abc import Mapping
from typing import NamedTuple

from glowplug.criu import images
from glowplug.criu.images import Message
from glowplug.errors import ImageError

# file_entry and inet_sk_entry: images/fdinfo.proto, images/sk-inet.proto
_FILE_SOCKET = 4
_INO, _FAMILY, _TYPE, _PROTO, _STATE = 2, 3, 4, 5, 6
_SRC_PORT, _DST_PORT, _BACKLOG, _SRC_ADDR, _DST_ADDR = 7, 8, 10, 11, 12
_IFNAME, _NS, _SHUTDOWN = 17, 18, 19

_AF_INET, _AF_INET6 = 2, 10
_TCP, _SOCK_STREAM = 6, 1
_TCP_CLOSE = 7
_SHUTDOWN_BOTH = 3

_WORDS = {_AF_INET: 1, _AF_INET6: 4}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class _End(NamedTuple):
    ns: int
    address: Address
    port: int


def apply(images_dir: str) -> tuple[str, ...]:
    """Keep the connections with both ends in the images; turn all others into closed, unbound sockets.

    Returns the sockets' own addresses, except for wildcard, loopback and multicast: some are the old pod's.
    Called once on a fresh dump, which it changes: files.img, and the tcp-stream images of the sockets
    closed are removed. Raises ImageError.
    """
    entries = images.load(images_dir, "files.img", "files")
    found = [(entry, sock) for entry in entries if (sock := entry.message(_FILE_SOCKET)) is not None]
    ends = {_ends(sock) for _, sock in found if _connected(sock)}
    closed: list[int] = []
    addresses: set[str] = set()
    for entry, sock in found:
        if _connected(sock):
            local, remote = _ends(sock)
            if (remote, local) not in ends:
                closed.append(sock.required(_INO, "inet_sk.ino"))
                _close(sock)
                entry.put_message(_FILE_SOCKET, sock)
        address = _plain(_address(sock, _SRC_ADDR))
        if sock.integer(_SRC_PORT) and not _is_anybodys(address):
            addresses.add(str(address))
    if closed:
        images.store(images_dir, "files.img", "files", entries)
        for ino in closed:
            _remove(images_dir, f"tcp-stream-{ino:x}.img")
    return tuple(sorted(addresses))


def rebind(images_dir: str, into: str, addresses: Mapping[str, str]) -> int:
    """Give sockets bound to an address of the old pod the new pod's address; how many were changed.

    addresses: old address to new one; other addresses stay (one that was bound with IP_FREEBIND is nobody's). The
    changed files.img is written to the directory ``into`` (see `images.link_rest`). Raises ImageError, also when the
    new address is of another family: CRIU could not bind it.
    """
    wanted = {ipaddress.ip_address(old): ipaddress.ip_address(new) for old, new in addresses.items()}
    entries = images.load(images_dir, "files.img", "files")
    changed = 0
    for entry in entries:
        sock = entry.message(_FILE_SOCKET)
        if sock is None or not sock.integer(_SRC_PORT):
            continue
        local = _address(sock, _SRC_ADDR)
        if _plain(local) not in wanted:
            continue
        for field in (_SRC_ADDR, _DST_ADDR):
            address = _address(sock, field)
            new = wanted.get(_plain(address))
            if new is not None:
                sock.put_integers(field, _words(address, new))
        entry.put_message(_FILE_SOCKET, sock)
        changed += 1
    if changed:
        images.store(into, "files.img", "files", entries)
    return changed


def _is_anybodys(address: Address) -> bool:
    return address.is_unspecified or address.is_loopback or address.is_multicast


def _connected(sock: Message) -> bool:
    # CRIU's own rule (tcp_connection() in sk-inet.c): such a socket must have a tcp-stream image.
    return sock.integer(_PROTO) == _TCP and bool(sock.integer(_DST_PORT))


def _close(sock: Message) -> None:
    family = sock.required(_FAMILY, "inet_sk.family")
    sock.put_integer(_STATE, _TCP_CLOSE)
    sock.put_integer(_SRC_PORT, 0)
    sock.put_integer(_DST_PORT, 0)
    sock.put_integer(_BACKLOG, 0)
    sock.put_integers(_SRC_ADDR, [0] * _WORDS[family])
    sock.put_integers(_DST_ADDR, [0] * _WORDS[family])
    sock.remove(_IFNAME)
    sock.put_integer(_SHUTDOWN, _SHUTDOWN_BOTH)


def _ends(sock: Message) -> tuple[_End, _End]:
    ns = sock.integer(_NS) or 0
    return (
        _End(ns, _plain(_address(sock, _SRC_ADDR)), sock.integer(_SRC_PORT) or 0),
        _End(ns, _plain(_address(sock, _DST_ADDR)), sock.integer(_DST_PORT) or 0),
    )


def _address(sock: Message, field: int) -> Address:
    family = sock.required(_FAMILY, "inet_sk.family")
    words = sock.integers(field)
    if family not in _WORDS or len(words) < _WORDS[family] or any(word >> 32 for word in words):
        raise ImageError(f"an inet socket of family {family} has an address of {len(words)} words")
    # The words are in the image as in memory: network byte order, read as little-endian numbers.
    packed = b"".join(word.to_bytes(4, "little") for word in words[: _WORDS[family]])
    return ipaddress.ip_address(packed)


def _plain(address: Address) -> Address:
    """An IPv4 address that an IPv6 socket holds as ::ffff:a.b.c.d is the same address."""
    return getattr(address, "ipv4_mapped", None) or address


def _words(old: Address, new: Address) -> list[int]:
    if old.version == 6 and new.version == 4 and getattr(old, "ipv4_mapped", None):
        new = ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + new.packed)
    if old.version != new.version:
        raise ImageError(f"a socket bound to {old} can't get the address {new} of another family")
    packed = new.packed
    return [int.from_bytes(packed[at : at + 4], "little") for at in range(0, len(packed), 4)]


def _remove(images_dir: str, name: str) -> None:
    try:
        os.unlink(os.path.join(images_dir, name))
    except FileNotFoundError:
        return
    except OSError as error:
        raise ImageError(f"image {name} can't be removed: {error.strerror}") from error
