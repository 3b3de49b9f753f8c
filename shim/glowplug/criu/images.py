"""CRIU's image files: their framing and the protobuf wire format, read and written without a schema.

An image opens with two 32-bit magic numbers and continues with entries, each a 32-bit length and a
protobuf message (criu/image.c, criu/protobuf.c; numbers in criu/include/magic.h). What a caller does not
touch is written back byte for byte, so that fields of a newer CRIU survive a rewrite.

Bytes come from a directory that only root writes, but they are checked as if anybody had: the only error
that leaves this file is ImageError.
"""

import os

from glowplug.errors import ImageError

COMMON_MAGIC = 0x54564319
MAGICS = {
    "pstree": 0x50273030,
    "core": 0x55053847,
    "ids": 0x54432030,
    "fdinfo": 0x56213732,
    "files": 0x56303138,
    "mm": 0x57492820,
    "pagemap": 0x56084025,
    "utsns": 0x54473203,
    "memfd": 0x48453499,
    "cgroup": 0x59383330,
    "remap-fpath": 0x59133954,
}

STORED = "stored"
"""In a restore's own directory, the link to the checkpoint's images."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_U32 = 4
_MAX_ENTRY = 1 << 28
_MAX_VARINT = 10


class Message:
    """One protobuf message as an ordered list of fields; unchanged fields keep their original bytes.

    Integers are read as unsigned 64-bit values. Later fields of the same number win, as protobuf asks.
    """

    __slots__ = ("_fields",)

    def __init__(self, data: bytes = b"") -> None:
        """Parse ``data``; ImageError if it is no protobuf message."""
        self._fields: list[tuple[int, int, int | bytes, bytes]] = []
        at, size = 0, len(data)
        while at < size:
            start = at
            key, at = _varint(data, at)
            number, wire = key >> 3, key & 7
            if number == 0:
                raise ImageError("an image message has a field numbered 0: the file is damaged")
            value: int | bytes
            if wire == VARINT:
                value, at = _varint(data, at)
            elif wire == BYTES:
                length, at = _varint(data, at)
                if length > size - at:
                    raise ImageError(f"field {number} of an image message is cut short")
                value, at = data[at : at + length], at + length
            elif wire in (FIXED64, FIXED32):
                length = 8 if wire == FIXED64 else 4
                if length > size - at:
                    raise ImageError(f"field {number} of an image message is cut short")
                value, at = int.from_bytes(data[at : at + length], "little"), at + length
            else:
                raise ImageError(f"field {number} of an image message has the unknown wire type {wire}")
            self._fields.append((number, wire, value, data[start:at]))

    def encode(self) -> bytes:
        """The message as bytes: the input's own where nothing was changed."""
        return b"".join(raw for _, _, _, raw in self._fields)

    def integer(self, number: int) -> int | None:
        """The value of an integer field, or None where it is absent."""
        for found, wire, value, _ in reversed(self._fields):
            if found == number:
                if wire == BYTES or isinstance(value, bytes):
                    raise ImageError(f"field {number} of an image message is not an integer")
                return value
        return None

    def required(self, number: int, what: str) -> int:
        """The value of an integer field that must be there; ``what`` names it in the ImageError."""
        value = self.integer(number)
        if value is None:
            raise ImageError(f"an image message lacks its field {number} ({what})")
        return value

    def integers(self, number: int) -> list[int]:
        """All values of a repeated integer field, packed or not."""
        values: list[int] = []
        for found, _, value, _ in self._fields:
            if found != number:
                continue
            if isinstance(value, int):
                values.append(value)
                continue
            at = 0
            while at < len(value):
                one, at = _varint(value, at)
                values.append(one)
        return values

    def octets(self, number: int) -> bytes | None:
        """The value of a string or bytes field, or None where it is absent."""
        for found, _, value, _ in reversed(self._fields):
            if found == number:
                if not isinstance(value, bytes):
                    raise ImageError(f"field {number} of an image message is not a string")
                return value
        return None

    def strings(self, number: int) -> list[bytes]:
        """All values of a repeated string or bytes field."""
        values = [value for found, _, value, _ in self._fields if found == number]
        if not all(isinstance(value, bytes) for value in values):
            raise ImageError(f"field {number} of an image message is not a string")
        return [value for value in values if isinstance(value, bytes)]

    def message(self, number: int) -> "Message | None":
        """An embedded message, or None. A copy: give it back with `put_message`."""
        data = self.octets(number)
        return None if data is None else Message(data)

    def messages(self, number: int) -> list["Message"]:
        """All embedded messages of a repeated field."""
        return [Message(value) for value in self.strings(number)]

    def put_integer(self, number: int, value: int) -> None:
        """Set an integer field (varint), in the place where it stood."""
        self._put(number, [(VARINT, value)])

    def put_integers(self, number: int, values: list[int]) -> None:
        """Set a repeated integer field (unpacked varints, as CRIU writes them)."""
        self._put(number, [(VARINT, value) for value in values])

    def put_octets(self, number: int, value: bytes) -> None:
        """Set a string or bytes field."""
        self._put(number, [(BYTES, value)])

    def put_message(self, number: int, value: "Message") -> None:
        """Set an embedded message."""
        self._put(number, [(BYTES, value.encode())])

    def put_messages(self, number: int, values: list["Message"]) -> None:
        """Set a repeated embedded message."""
        self._put(number, [(BYTES, value.encode()) for value in values])

    def remove(self, number: int) -> None:
        """Drop a field, all its values."""
        self._fields = [field for field in self._fields if field[0] != number]

    def _put(self, number: int, values: list[tuple[int, int | bytes]]) -> None:
        at = next((i for i, field in enumerate(self._fields) if field[0] == number), len(self._fields))
        self.remove(number)
        self._fields[at:at] = [(number, wire, value, _field(number, wire, value)) for wire, value in values]


def parse(data: bytes, kind: str, name: str) -> list[bytes]:
    """The entries of an image whose bytes are ``data``.

    kind: a key of MAGICS. name: the file's name, for the message.
    Raises ImageError: another magic, or an entry that is cut short.
    """
    at = _after_magic(data, kind, name)
    found = []
    while at < len(data):
        entry, at = _entry(data, at, name)
        found.append(entry)
    return found


def build(entries: list[bytes], kind: str) -> bytes:
    """An image's bytes from its entries."""
    parts = [COMMON_MAGIC.to_bytes(_U32, "little"), MAGICS[kind].to_bytes(_U32, "little")]
    for entry in entries:
        parts.append(len(entry).to_bytes(_U32, "little"))
        parts.append(entry)
    return b"".join(parts)


def load(images_dir: str, name: str, kind: str) -> list[Message]:
    """Read image ``name`` of a directory: its entries, parsed. ImageError if missing or damaged."""
    data = read(images_dir, name)
    try:
        return [Message(entry) for entry in parse(data, kind, name)]
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None


def read(images_dir: str, name: str) -> bytes:
    """The bytes of one small image; ImageError if it can't be read."""
    try:
        with open(os.path.join(images_dir, name), "rb") as file:
            return file.read()
    except OSError as error:
        raise ImageError(f"image {name} can't be read: {error.strerror}") from error


def store(images_dir: str, name: str, kind: str, entries: list[Message]) -> None:
    """Write image ``name`` again: a file of its own, put in the old one's place (mode 0600)."""
    write(images_dir, name, build([entry.encode() for entry in entries], kind))


def write(images_dir: str, name: str, data: bytes) -> None:
    """Replace a file of the directory by ``data``. Links to the old file keep the old bytes."""
    path = os.path.join(images_dir, name)
    aside = f"{path}.new"
    try:
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as file:
            file.write(data)
        os.replace(aside, path)
    except OSError as error:
        raise ImageError(f"image {name} can't be written: {error.strerror}") from error


def names(images_dir: str, prefix: str) -> list[tuple[int, str]]:
    """(number, file name) of the images ``prefix-<number>.img``, by number."""
    try:
        listed = os.listdir(images_dir)
    except OSError as error:
        raise ImageError(f"the image directory can't be read: {error.strerror}") from error
    found = []
    for name in listed:
        number = name[len(prefix) + 1 : -4]
        if name == f"{prefix}-{number}.img" and number.isascii() and number.isdigit():
            found.append((int(number), name))
    return sorted(found)


def link_rest(images_dir: str, into: str) -> None:
    """Make ``into`` look like ``images_dir``: a link for each file that it does not have itself.

    A restore that needs one image changed gives CRIU such a directory; the checkpoint stays as it is.
    Both directories must be in one mount: CRIU opens images by directory descriptor when the old root is
    gone, so the links are relative and may not cross a mount point. One leads to the directory, and the others through
    it: up to 59 bytes are in a link's inode (ext4), a longer link takes a block, which costs 1 ms to give back.
    """
    way = os.path.relpath(os.path.realpath(images_dir), os.path.realpath(into))
    try:
        own = set(os.listdir(into))
        os.symlink(way, os.path.join(into, STORED))
        for name in os.listdir(images_dir):
            if name not in own:
                os.symlink(f"{STORED}/{name}", os.path.join(into, name))
    except OSError as error:
        raise ImageError(
            f"the images can't be linked into a restore's own directory: {error.strerror}"
        ) from error


def _entry(data: bytes, at: int, name: str) -> tuple[bytes, int]:
    length = int.from_bytes(data[at : at + _U32], "little")
    end = at + _U32 + length
    if len(data) - at < _U32 or length > _MAX_ENTRY or end > len(data):
        raise ImageError(f"image {name} is cut short or damaged at byte {at} of {len(data)}")
    return data[at + _U32 : end], end


def _after_magic(data: bytes, kind: str, name: str) -> int:
    wanted = build([], kind)
    if data[: len(wanted)] != wanted:
        found = data[: len(wanted)].hex() or "nothing"
        raise ImageError(f"image {name} is not a {kind} image: it starts with {found}")
    return len(wanted)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for at_byte in range(at, min(at + _MAX_VARINT, len(data))):
        byte = data[at_byte]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at_byte + 1
        shift += 7
    raise ImageError("an image message holds a number without an end")


def _field(number: int, wire: int, value: int | bytes) -> bytes:
    key = _encoded(number << 3 | wire)
    if isinstance(value, bytes):
        return key + _encoded(len(value)) + value
    return key + _encoded(value & 0xFFFFFFFFFFFFFFFF)


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
