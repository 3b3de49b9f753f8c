"""Takes the terminals that a runtime sends to a console socket, and reads them to nowhere, as runc's recvtty does.

recvtty.py --pid-file FILE --mode null SOCKET
"""

import contextlib
import os
import socket
import sys
import threading


def drain(connection: socket.socket) -> None:
    _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
    connection.close()
    with contextlib.suppress(OSError):  # EIO: the other end of a terminal has been closed
        while os.read(descriptors[0], 65536):
            pass
    os.close(descriptors[0])


def main(pid_file: str, path: str) -> None:
    with open(pid_file, "w") as file:
        file.write(str(os.getpid()))
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(64)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=drain, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[2], sys.argv[5])
