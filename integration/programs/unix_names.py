"""Unix listeners whose file is no longer called as it was bound."""

import os
import socket


def _listener(path, kind=socket.SOCK_STREAM):
    listener = socket.socket(socket.AF_UNIX, kind)
    listener.bind(path)
    if kind == socket.SOCK_STREAM:
        listener.listen(5)
    return listener


def _serves(listener, *paths):
    def check():
        for path in paths:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                listener.accept()[0].close()

    return check


def linked_then_removed():
    """As supervisord makes its own."""
    listener = _listener("/run/linked.12")
    os.link("/run/linked.12", "/run/linked")
    os.unlink("/run/linked.12")
    return _serves(listener, "/run/linked")


def of_two_names():
    listener = _listener("/run/first")
    os.link("/run/first", "/run/second")
    return _serves(listener, "/run/first", "/run/second")


def in_a_renamed_directory():
    os.makedirs("/run/draft/deep")
    listener = _listener("/run/draft/deep/s")
    os.rename("/run/draft", "/run/done")
    return _serves(listener, "/run/done/deep/s")


def datagrams():
    """And bound to a relative name, which it still has."""
    receiver = _listener("/run/datagrams.new", socket.SOCK_DGRAM)
    os.rename("/run/datagrams.new", "/run/datagrams")
    os.chdir("/run")
    other = _listener("relative", socket.SOCK_DGRAM)
    os.chdir("/")

    def check():
        for path, one in (("/run/datagrams", receiver), ("/run/relative", other)):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"hello", path)
            one.settimeout(30)
            assert one.recv(9) == b"hello"

    return check
