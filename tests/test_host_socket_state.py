"""Socket options that CRIU does not know: what one socket has, another one of its kind gets."""

import socket

import pytest

from glowplug.host import socket_state

SO_RCVMARK, SO_PASSPIDFD, SO_RCVPRIORITY, SO_PASSRIGHTS = 75, 76, 82, 83


@pytest.mark.parametrize(
    ("family", "number", "value", "name"),
    [
        (socket.AF_INET, SO_RCVMARK, 1, "SO_RCVMARK"),
        (socket.AF_INET, SO_RCVPRIORITY, 1, "SO_RCVPRIORITY"),
        (socket.AF_UNIX, SO_PASSPIDFD, 1, "SO_PASSPIDFD"),
        (socket.AF_UNIX, SO_PASSRIGHTS, 0, "SO_PASSRIGHTS"),  # 1 in a new one
        (socket.AF_INET, socket.SO_KEEPALIVE, 1, "SO_KEEPALIVE"),
    ],
)
def test_an_option(family: int, number: int, value: int, name: str) -> None:
    with socket.socket(family) as one, socket.socket(family) as other:
        try:
            one.setsockopt(socket.SOL_SOCKET, number, value)
        except OSError:
            pytest.skip("a kernel without it")
        kind = socket_state.kind(one.fileno())
        found = socket_state.options(one.fileno(), kind)
        assert found == {name: value}
        assert socket_state.set_options(other.fileno(), kind, found) == []
        assert other.getsockopt(socket.SOL_SOCKET, number) == value
