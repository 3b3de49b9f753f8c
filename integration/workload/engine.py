"""A server that sleeps and wakes as inference engines do, in one file, for containers of tests. Stdlib only.

vLLM: POST /sleep?level=1 and POST /wake_up answer 200 and nothing; GET /health is 200 also while it sleeps.
SGLang: POST /release_memory_occupation and /resume_memory_occupation want a JSON body. In both, what was put
away is gone until it wakes: /generate answers 503.

GET /told → the calls so far, as JSON. GET /moved → a redirect to /health. FAIL_SLEEP=1: sleeping fails.
"""

import json
import os
import signal
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SLEEP = ("/sleep", "/release_memory_occupation")
WAKE = ("/wake_up", "/resume_memory_occupation")

told: list[str] = []
asleep = False
signals = 0


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(200)
        elif self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/health")
            self.end_headers()
        elif self.path == "/generate":
            self._answer(503 if asleep else 200)
        elif self.path == "/told":
            state = {"told": told, "asleep": asleep, "signals": signals, "token": TOKEN}
            self._answer(200, json.dumps(state).encode())
        else:
            self._answer(404)

    def do_POST(self) -> None:
        global asleep
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told.append(self.path)
        if url.path == "/sleep" and parse_qs(url.query).get("level") != ["1"]:
            self._answer(400)
        elif url.path.endswith("_memory_occupation") and (
            not self.headers.get("Content-Type", "").startswith("application/json") or json.loads(body) != {}
        ):
            self._answer(422)
        elif url.path in SLEEP and os.environ.get("FAIL_SLEEP"):
            self._answer(500)
        elif url.path in SLEEP + WAKE:
            asleep = url.path in SLEEP
            self._answer(200)
        else:
            self._answer(404)

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the log is the tests'."""


def count(_number: int, _frame: object) -> None:
    global signals
    signals += 1


TOKEN = os.urandom(16).hex()
signal.signal(signal.SIGUSR1, count)
signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
until = time.monotonic() + float(os.environ.get("SLOW_S", "2"))
while time.monotonic() < until:
    time.sleep(0.05)
os.write(1, b"the engine listens\n")
ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
