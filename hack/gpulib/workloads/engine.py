"""An inference server as vLLM and SGLang are made, without a model: their routes, their processes, their ways to talk.

The API server has the driver's library mapped and uses no GPU. It starts, by spawn (so with multiprocessing's resource
tracker and its semaphores), an engine core that holds CUDA, which forks an idle compile worker before it does. They
talk over a Unix stream socket in /tmp, as over ZMQ's ipc, and share a segment and a lock. The engine core writes over
its environment, as setproctitle does. With ENGINE_GPUS there are so many of them, as workers of tensor parallelism.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import secrets
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import shared_memory
from typing import Any
from urllib.parse import parse_qs, urlsplit

import device_state

WEIGHTS = [11, 22, 33]
MODEL = "/weights"
BACKUP = os.environ.get("ENGINE_WEIGHTS") == "keep"  # as SGLang with --enable-weights-cpu-backup
LIBRARY = os.environ.get("CHECK_FAKE_DRIVER")


class Core:
    """What the engine core knows. Weights that were dropped are zeros until they are read again."""

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.weights = list(WEIGHTS)
        self.device = device_state.allocate()
        self.steps = 0

    def call(self, method: str, argument: Any) -> Any:
        if method == "sleep":
            self.away = {"weights", "kv_cache"}
            self.weights = [0] * len(WEIGHTS) if argument == 2 else self.weights
        elif method == "wake":
            self.away -= set(argument or self.away)
        elif method == "reload":
            if "weights" in self.away:
                return {"error": "CUDA error: an illegal memory access was encountered"}
            self.weights = list(WEIGHTS)
        elif method == "generate":
            if self.away:
                return {"error": "asleep"}
            self.steps += 1
            return {"ids": self.weights, "token": self.device.token()}
        return {"sleeping": bool(self.away)}


def core(path: str, segment: str, lock: Any) -> None:
    """The engine core's process."""
    if os.fork() == 0:  # a compile worker: started before there is CUDA, it has nothing of it
        threading.Event().wait()
    memory = shared_memory.SharedMemory(name=segment)
    made = Core()
    write_over_environment()
    with socket.socket(socket.AF_UNIX) as talk:
        talk.connect(path)
        with talk.makefile("rw") as lines:
            for line in lines:
                with lock:
                    buffer = memory.buf
                    assert buffer is not None
                    buffer[0] = (buffer[0] + 1) % 256
                lines.write(json.dumps(made.call(*json.loads(line))) + "\n")
                lines.flush()


def write_over_environment() -> None:
    """As setproctitle(3): /proc/PID/environ says nothing any more."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])  # env_start, env_end: fields 50 and 51 of proc_pid_stat(5)
    ctypes.memset(start, 0, end - start)


class Engine:
    """The cores as the API server sees them: all get the same, and have to agree."""

    def __init__(self, gpus: int) -> None:
        self._lock = threading.Lock()
        self._cores = [Remote() for _ in range(gpus)]

    def call(self, method: str, argument: Any = None) -> Any:
        with self._lock:
            answers = [one.call(method, argument) for one in self._cores]
        tokens = [str(one["token"]) for one in answers if "token" in one]
        assert all({**one, "token": ""} == {**answers[0], "token": ""} for one in answers)
        return {**answers[0], **({"token": "-".join(tokens)} if tokens else {})}


class Remote:
    """One core."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        path = f"/tmp/{secrets.token_hex(8)}"
        self._memory = shared_memory.SharedMemory(create=True, size=4096)
        self._shared = spawn.Lock()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            argument = (path, self._memory.name, self._shared)
            self._process = spawn.Process(target=core, args=argument, daemon=True)
            self._process.start()
            self._lines = listener.accept()[0].makefile("rw")

    def call(self, method: str, argument: Any) -> Any:
        self._lines.write(json.dumps([method, argument]) + "\n")
        self._lines.flush()
        return json.loads(self._lines.readline())


def handler(engine: Engine) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path in ("/health", "/health_generate"):
                self._say({}, 200)
            elif self.path == "/is_sleeping":
                self._say({"is_sleeping": engine.call("state")["sleeping"]})
            elif self.path == "/get_model_info":
                self._say({"model_path": MODEL})
            else:
                self._say({}, 404)

        def do_POST(self) -> None:
            url, body = urlsplit(self.path), self.rfile.read(int(self.headers.get("Content-Length") or 0))
            content = json.loads(body) if body else {}
            query = parse_qs(url.query)
            if url.path == "/sleep":
                self._say(engine.call("sleep", int(query["level"][0])))
            elif url.path == "/release_memory_occupation":
                self._say(engine.call("sleep", 1 if BACKUP else 2))
            elif url.path == "/wake_up":
                self._say(engine.call("wake", query.get("tags")))
            elif url.path == "/resume_memory_occupation":
                self._say(engine.call("wake", content.get("tags")))
            elif url.path == "/collective_rpc" and content == {"method": "reload_weights"}:
                self._say(engine.call("reload"))
            elif url.path == "/update_weights_from_disk":
                self._say(
                    {"success": content == {"model_path": MODEL} and "error" not in engine.call("reload")}
                )
            elif url.path == "/v1/completions":
                self._complete(engine.call("generate"))
            else:
                self._say({}, 404)

        def _complete(self, made: dict[str, Any]) -> None:
            if "error" in made:
                self._say(made)
                return
            tokens = [f"token_id:{one}" for one in made["ids"]]
            logprobs = {"tokens": tokens, "token_logprobs": [-1 / (1 + one) for one in made["ids"]]}
            self._say(
                {"id": secrets.token_hex(4), "choices": [{"text": made["token"], "logprobs": logprobs}]}
            )

        def _say(self, content: dict[str, Any], status: int = 200) -> None:
            body = json.dumps(content).encode()
            self.send_response(500 if "error" in content else status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: the log is for what goes wrong."""

    return Handler


def compile_once() -> None:
    """As torch.compile: what was compiled before is found in the cache."""
    path = f"{os.environ.get('VLLM_CACHE_ROOT') or os.path.expanduser('~/.cache/vllm')}/compiled"
    if not os.path.exists(path):
        time.sleep(float(os.environ.get("ENGINE_COMPILES_S", "2")))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write("compiled")


def main() -> None:
    """The API server: it maps the driver's library, and no more of the GPU."""
    library = ctypes.CDLL(LIBRARY) if LIBRARY else None
    time.sleep(float(os.environ.get("ENGINE_LOADS_S", "4")))  # what a restore has to be faster than
    compile_once()
    ThreadingHTTPServer(
        ("0.0.0.0", 8000), handler(Engine(int(os.environ.get("ENGINE_GPUS", "1"))))
    ).serve_forever()
    del library


if __name__ == "__main__":
    main()
