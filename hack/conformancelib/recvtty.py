"""Takes the terminals that a runtime sends to a console socket, as runc's recvtty does (contrib/cmd/recvtty).

recvtty.py --pid-file FILE [--no-stdin] --mode null SOCKET      reads them to nowhere, until it is ended
recvtty.py --pid-file FILE [--no-stdin] --mode single SOCKET    reads one to its standard output, and ends with it
"""

import argparse
import contextlib
import os
import socket
import threading


def take(server: socket.socket) -> int:
    """The next terminal."""
    connection, _ = server.accept()
    with connection:
        _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
    return descriptors[0]


def read(terminal: int, target: int | None) -> None:
    """To its end."""
    with contextlib.suppress(OSError):  # EIO: the other end has been closed
        while said := os.read(terminal, 65536):
            if target is not None:
                os.write(target, said)
    os.close(terminal)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pid-file", required=True)
    parser.add_argument("--mode", choices=("null", "single"), required=True)
    parser.add_argument("--no-stdin", action="store_true", help="nothing is read from there anyway")
    parser.add_argument("socket")
    options = parser.parse_args()
    os.closerange(3, 64)  # bats' own: it waits until nobody has them any more
    with open(options.pid_file, "w") as file:
        file.write(str(os.getpid()))
    server = socket.socket(socket.AF_UNIX)
    server.bind(options.socket)
    server.listen(64)
    if options.mode == "single":
        read(take(server), 1)
        return
    while True:
        threading.Thread(target=read, args=(take(server), None), daemon=True).start()


if __name__ == "__main__":
    main()
