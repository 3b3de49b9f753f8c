"""The demo's inference server: pictures in, the text on them out.

It stands for any server that is slow to start: it imports its libraries, loads three OCR models (find text,
which way up, read it), and reads one page to warm up before it listens. Nothing here knows of checkpoints.

    POST /ask      a PNG or JPEG as the body  → {"text": ["line", …]}
    GET  /token    → {"token": "…"}, drawn at start and kept in memory only
    GET  /healthz  → {"ready": true, "startup_s": {"imports": …, "models": …, "warm-up": …}}

Usage: server.py [PORT]    listens on 0.0.0.0, port 8000 unless set otherwise
"""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STARTED = time.perf_counter()

import ctypes

import cv2
import numpy
from PIL import Image, ImageDraw, ImageFont
from rapidocr_onnxruntime import RapidOCR

IMPORTED = time.perf_counter()

MAX_PICTURE_BYTES = 16 << 20
# The longest side that a picture is scaled down to before text is searched on it, in pixels.
SEARCH_SIDE = 960
# An A4 page at 150 dots per inch, with a short letter on it.
PAGE_SIZE = (1240, 1754)
PAGE_LINES = 9
LINE_PITCH = 58
FONT_SIZE = 28


class Reader:
    """The loaded models."""

    def __init__(self) -> None:
        self._ocr = RapidOCR(
            det_limit_type="max",
            det_limit_side_len=SEARCH_SIDE,
            # Threads of one inference wait for each other by spinning: on a busy machine one is faster.
            intra_op_num_threads=1,
        )

    def read(self, picture: numpy.ndarray) -> list[str]:
        """The lines of text on a picture, top to bottom."""
        found, _seconds = self._ocr(picture)
        return [text for _box, text, _score in found or []]

    def warm_up(self) -> None:
        """Reads one page, so that no caller pays for the first inference; then gives back what that took."""
        self.read(_page())
        # The page's intermediate results are free in the allocator: 250 MB that the server need not keep.
        ctypes.CDLL(None).malloc_trim(0)


def _page() -> numpy.ndarray:
    picture = Image.new("RGB", PAGE_SIZE, "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(FONT_SIZE)
    for number in range(PAGE_LINES):
        line = f"Line {number}: a page like those that this server will have to read, margin to margin"
        draw.text((FONT_SIZE, FONT_SIZE + number * LINE_PITCH), line, fill="black", font=font)
    return numpy.asarray(picture)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    reader: Reader
    token: str
    startup_s: dict[str, float]

    def do_GET(self) -> None:
        if self.path == "/token":
            self._answer(200, {"token": self.token})
        elif self.path == "/healthz":
            self._answer(200, {"ready": True, "startup_s": self.startup_s})
        else:
            self._answer(404, {"error": f"no such page: {self.path}"})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/ask" or not 0 < length <= MAX_PICTURE_BYTES:
            self.close_connection = True
            self._answer(400, {"error": f"POST a picture of at most {MAX_PICTURE_BYTES} bytes to /ask"})
            return
        body = numpy.frombuffer(self.rfile.read(length), dtype=numpy.uint8)
        picture = cv2.imdecode(body, cv2.IMREAD_COLOR)
        if picture is None:
            self._answer(400, {"error": "the body is no picture that OpenCV can read"})
            return
        began = time.perf_counter()
        self._answer(200, {"text": self.reader.read(picture)})
        print(f"answered in {time.perf_counter() - began:.2f} s", flush=True)

    def _answer(self, status: int, value: dict[str, object]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Loads, warms up, serves until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    Handler.token = os.urandom(16).hex()
    Handler.reader = Reader()
    loaded = time.perf_counter()
    Handler.reader.warm_up()
    warm = time.perf_counter()
    Handler.startup_s = {
        "imports": round(IMPORTED - STARTED, 3),
        "models": round(loaded - IMPORTED, 3),
        "warm-up": round(warm - loaded, 3),
    }
    server = ThreadingHTTPServer(("0.0.0.0", port), Handler)
    print(f"listening on port {port}: {Handler.startup_s}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
