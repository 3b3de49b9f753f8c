"""Unsent data of a connection inside is called sent, and nothing else of the image changes."""

import pytest

from glowplug.criu import images, tcp_queues
from glowplug.criu.images import Message
from glowplug.errors import ImageError

HEAD = bytes.fromhex("19435654") + bytes.fromhex("06554651")
QUEUES = b"received" + b"sent and unsent"


def image(unsent: int) -> bytes:
    stream = Message()
    for field, value in ((1, 8), (2, 77), (3, 15), (12, unsent), (13, 5)):
        stream.put_integer(field, value)
    message = stream.encode()
    return HEAD + len(message).to_bytes(4, "little") + message + QUEUES


def test_unsent_data(tmp_path: object) -> None:
    folder = str(tmp_path)
    images.write(folder, "tcp-stream-af3.img", image(7))
    images.write(folder, "tcp-stream-1.img", image(0))
    assert tcp_queues.apply(folder) == 1
    for name in ("tcp-stream-af3.img", "tcp-stream-1.img"):
        with open(f"{folder}/{name}", "rb") as file:
            assert file.read() == image(0)


def test_a_short_image(tmp_path: object) -> None:
    images.write(str(tmp_path), "tcp-stream-2.img", image(3)[:14])
    with pytest.raises(ImageError, match="cut short"):
        tcp_queues.apply(str(tmp_path))
