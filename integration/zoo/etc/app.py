"""A WSGI application: what is posted stays in memory that all workers share."""

import mmap
import multiprocessing
from collections.abc import Callable
from typing import Any

shared, lock = mmap.mmap(-1, 65536), multiprocessing.Lock()


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    if environ["PATH_INFO"] == "/healthz":
        body = b"ok"
    elif environ["REQUEST_METHOD"] == "POST":
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        with lock:
            shared.write(body + b"\n")
    else:
        body = shared[:].rstrip(b"\0")
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
