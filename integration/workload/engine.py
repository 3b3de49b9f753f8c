"""A server that sleeps and wakes as inference engines do, in one file, for containers of tests. Stdlib only.

vLLM: POST /sleep?level=1 or 2, /wake_up (all, or ?tags=weights, ?tags=kv_cache), /collective_rpc with the method
reload_weights, GET /is_sleeping. SGLang: POST /release_memory_occupation, /resume_memory_occupation (both want a JSON
body, which may name tags) and /update_weights_from_disk, GET /get_model_info, /health_generate. GET /health is 200 also
while it sleeps; what was put away is gone until it wakes: /generate and /v1/completions answer 503.
After a level 2, or a release, the weights are garbage until they were read again: answers are wrong then.

GET /reported → the calls so far, as JSON. GET /moved → a redirect to /health.
In the environment: FAIL_SLEEP=1: sleeping fails. FAIL_WAKE=N: the first N requests to wake fail, in the engine's own
words. LIE=sleep, wake or answer: it says 200 and does not sleep, does not wake, or answers otherwise after it woke.
HANG=wake: waking never ends.
"""

import json
import os
import signal
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PARTS = {"weights", "kv_cache", "cuda_graph"}
ANSWER = [11, 22, 33]
GARBAGE = [0, 0, 0]

reported: list[str] = []
away: set[str] = set()
lost: set[str] = set()
woken = 0
signals = 0


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(200)
        elif self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/health")
            self.end_headers()
        elif self.path in ("/generate", "/health_generate"):
            self._answer(503 if away else 200)
        elif self.path == "/is_sleeping":
            self._say({"is_sleeping": bool(away)})
        elif self.path == "/get_model_info":
            self._say({"model_path": "/models/one", "is_generation": True})
        elif self.path == "/reported":
            self._say({"reported": reported, "asleep": bool(away), "signals": signals, "token": TOKEN})
        else:
            self._answer(404)

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if url.path != "/v1/completions":
            reported.append(self.path)
        route = ROUTES.get(url.path)
        if route is None:
            self._answer(404)
        else:
            route(self, parse_qs(url.query), body)

    def sleep(self, query: dict[str, list[str]], _: bytes) -> None:
        level = query.get("level", ["1"])[0]
        if level not in ("1", "2"):
            self._answer(400)
        elif os.environ.get("FAIL_SLEEP"):
            self._answer(500, b'{"error": "device is busy"}')
        else:
            self._put_away({"weights", "kv_cache"}, is_lost=level == "2")
            self._answer(200)

    def wake_up(self, query: dict[str, list[str]], _: bytes) -> None:
        self._bring_back(set(query.get("tags", PARTS)))

    def collective_rpc(self, _: dict[str, list[str]], body: bytes) -> None:
        if json.loads(body) != {"method": "reload_weights"}:
            self._answer(400)
        elif "weights" in away:
            self._answer(500, b"CUDA error: an illegal memory access was encountered")
        else:
            lost.clear()
            self._say({"results": [None]})

    def release(self, _: dict[str, list[str]], body: bytes) -> None:
        if self._is_json():
            self._put_away(
                set(json.loads(body).get("tags", PARTS)), is_lost=not os.environ.get("WEIGHTS_BACKUP")
            )
            self._answer(200)

    def resume(self, _: dict[str, list[str]], body: bytes) -> None:
        if self._is_json():
            self._bring_back(set(json.loads(body).get("tags", PARTS)))

    def update_weights(self, _: dict[str, list[str]], body: bytes) -> None:
        if self._is_json():
            is_known = json.loads(body)["model_path"] == "/models/one" and "weights" not in away
            if is_known:
                lost.clear()
            self._say({"success": is_known, "message": "Succeeded" if is_known else "no such model"})

    def completions(self, _: dict[str, list[str]], body: bytes) -> None:
        if away:
            self._answer(503)
            return
        is_wrong = bool(lost) or (woken and os.environ.get("LIE") == "answer" and os.path.exists(RESTORED))
        tokens = GARBAGE if is_wrong else ANSWER
        logprobs = {
            "tokens": [f"token_id:{token}" for token in tokens],
            "token_logprobs": [-0.25 - token / 1000 for token in tokens],
        }
        text = " ".join(map(str, tokens))
        self._say({"id": os.urandom(4).hex(), "choices": [{"text": text, "logprobs": logprobs}]})

    def _is_json(self) -> bool:
        if self.headers.get("Content-Type", "").startswith("application/json"):
            return True
        self._answer(422)
        return False

    def _put_away(self, parts: set[str], *, is_lost: bool) -> None:
        if os.environ.get("LIE") != "sleep":
            away.update(parts)
            lost.update({"weights"} & parts if is_lost else set())

    def _bring_back(self, parts: set[str]) -> None:
        global woken
        woken += 1
        if os.environ.get("HANG") == "wake" and os.path.exists(RESTORED):
            time.sleep(1000)
        if woken <= int(os.environ.get("FAIL_WAKE", "0")):
            self._answer(500, b'{"error": "out of memory"}')
            return
        if not (os.environ.get("LIE") == "wake" and os.path.exists(RESTORED)):
            away.difference_update(parts)
        self._answer(200)

    def _say(self, content: object) -> None:
        self._answer(200, json.dumps(content).encode())

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the log is the tests'."""


ROUTES = {
    "/sleep": Handler.sleep,
    "/wake_up": Handler.wake_up,
    "/collective_rpc": Handler.collective_rpc,
    "/release_memory_occupation": Handler.release,
    "/resume_memory_occupation": Handler.resume,
    "/update_weights_from_disk": Handler.update_weights,
    "/v1/completions": Handler.completions,
}
RESTORED = "/run/glowplug/restored"  # there in a restored container (docs/capture.md)


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
