"""Data that a TCP connection inside the container had taken and not sent yet, because its reader is slow.

CRIU restores it by sending it for real, while the other end may not be there yet: the kernel answers with a reset
(soccr/soccr.c, libsoccr_restore_queue). Called sent and not acknowledged, it is put back without a packet, and is
sent again once both ends are there and the reader takes it. Field numbers: images/tcp-stream.proto.
"""

import os

from glowplug.criu import images
from glowplug.criu.images import Message
from glowplug.errors import ImageError

_PREFIX = "tcp-stream-"
_UNSENT = 12
_HEAD = 8  # two magic numbers
_U32 = 4


def apply(images_dir: str) -> int:
    """Call unsent data sent in all connections of the dump; how many had some. Raises ImageError."""
    changed = 0
    try:
        for name in sorted(os.listdir(images_dir)):
            if name.startswith(_PREFIX) and name.endswith(".img"):
                changed += _call_sent(images_dir, name)
    except OSError as error:
        raise ImageError(f"the queues of a connection can't be read: {error}") from error
    return changed


def _call_sent(images_dir: str, name: str) -> bool:
    """The file is one message and then the bytes of both queues, which stay as they are."""
    with open(os.path.join(images_dir, name), "rb") as file:
        data = file.read()
    begin = _HEAD + _U32
    end = begin + int.from_bytes(data[_HEAD:begin], "little")
    if len(data) < end or end <= begin:
        raise ImageError(f"image {name} is cut short at byte {len(data)}")
    stream = Message(data[begin:end])
    if not stream.integer(_UNSENT):
        return False
    stream.put_integer(_UNSENT, 0)
    changed = stream.encode()
    images.write(
        images_dir, name, data[:_HEAD] + len(changed).to_bytes(_U32, "little") + changed + data[end:]
    )
    return True
