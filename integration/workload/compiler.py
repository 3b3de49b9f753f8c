"""A server that compiles before it serves, as inference engines do: a kernel is a file in a cache. Stdlib only.

GET /health → 200. GET /compiled → JSON: the kernels that it had to compile, those that it found, and its token.
In the environment: MESS=1: where it compiled, it leaves beside them what is no complete file. CACHE: a cache besides
vLLM's and Triton's. SLOW_S: seconds that its start takes besides.
"""

import json
import os
import stat
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TextIO

KERNELS = {
    "/root/.cache/vllm": (
        "torch_compile_cache/0a1b/rank_0/inductor_cache/ab/kernel.so",
        "modelinfos/one.json",
    ),
    "/root/.triton/cache": ("BCDE/fused.cubin",),
    "/tmp/torchinductor_root": ("fxgraph/one",),
}
compiled: list[str] = []
found: list[str] = []


def compile_all() -> None:
    for root, names in {
        **KERNELS,
        **({os.environ["CACHE"]: ("own",)} if "CACHE" in os.environ else {}),
    }.items():
        for name in names:
            path = f"{root}/{name}"
            if os.path.exists(path):
                with open(path) as file:
                    assert file.read() == content(name)
                found.append(path)
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(f"{path}.tmp", "w") as file:
                file.write(content(name))
            os.chmod(f"{path}.tmp", 0o754)
            os.rename(f"{path}.tmp", path)
            compiled.append(path)


def content(name: str) -> str:
    return f"compiled {name} " * 1000


def mess() -> None:
    """A link to a secret, a FIFO, a device, a file that is being written, a file with the setuid bit."""
    cache = "/root/.cache/vllm"
    with open("/root/secret", "w") as secret:
        secret.write("a secret")
    os.symlink("/root/secret", f"{cache}/link")
    os.symlink("/root", f"{cache}/all")
    os.mkfifo(f"{cache}/fifo")
    os.mknod(f"{cache}/device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    for name, mode in (("setuid", 0o4755), ("incomplete", 0o600)):
        kept.append(open(f"{cache}/{name}", "w"))  # noqa: SIM115  # open for as long as it serves
        kept[-1].write(name)
        kept[-1].flush()
        os.chmod(f"{cache}/{name}", mode)
    kept.pop(0).close()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        said = json.dumps({"compiled": sorted(compiled), "found": sorted(found), "token": TOKEN}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the log is the tests'."""


TOKEN = os.urandom(16).hex()
kept: list[TextIO] = []
compile_all()
time.sleep(float(os.environ.get("SLOW_S", "0")))
if compiled and os.environ.get("MESS"):
    mess()
ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
