"""A server with a warm-up, as the cluster's pods run it: WARM seconds of work, then HTTP on 8000.

It answers with what it has in memory (a token drawn at the start), and with what its pod gives it.
"""

import hashlib
import http.server
import json
import os
import secrets
import signal
import sys
import threading
import time

VERSION = "1"
TOKEN = secrets.token_hex(8)
table = {}
hog = []


def warm_up():
    """Work, so that a cold start costs what a restore saves."""
    until = time.monotonic() + float(os.environ.get("WARM", "3"))
    count = 0
    while time.monotonic() < until:
        count += 1
        table[count % 50000] = hashlib.sha256(b"%d" % count).digest()


def read(path):
    """The file's text; None where there is none."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None


def listing(path):
    """Names in a directory; None where there is none."""
    return sorted(os.listdir(path)) if os.path.isdir(path) else None


def facts():
    """What this pod has."""
    return {
        "version": VERSION,
        "token": TOKEN,
        "pid": os.getpid(),
        "pod": os.environ.get("POD_NAME"),
        "ip": os.environ.get("POD_IP"),
        "host": os.uname().nodename,
        "config": read("/etc/app/message"),
        "secret": os.environ.get("PASSWORD"),
        "labels": read("/etc/podinfo/labels"),
        "links": {name: value for name, value in os.environ.items() if name.startswith("FRONT_SERVICE_")},
        "restored": read("/run/glowplug/restored"),
        "account": os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        "scratch": listing("/scratch"),
    }


class Handler(http.server.BaseHTTPRequestHandler):
    """GET / facts; /exit7 ends with that status; /oom takes memory without end; /log writes a line, /flood 2 MiB."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Nothing: the log is for what tests look for."""

    def do_GET(self):
        if self.path.startswith("/exit"):
            os._exit(int(self.path[5:] or 7))
        if self.path == "/oom":
            while True:
                hog.append(bytearray(os.urandom(1 << 20)))
        if self.path == "/log":
            print("logged", os.uname().nodename, flush=True)
        if self.path == "/flood":
            for _ in range(2048):
                print("x" * 1023, flush=True)
        body = json.dumps(facts()).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def stop(*_):
    """After a moment, as a server that drains; not at all where it is to ignore it."""
    print("term", flush=True)
    if os.environ.get("IGNORES_TERM"):
        return
    folder = os.environ.get("TERM_FILE")
    if folder:
        with open(f"{folder}/{os.uname().nodename}", "a") as file:
            file.write("term\n")
    threading.Timer(0.3, os._exit, (int(os.environ.get("TERM_STATUS", "0")),)).start()


print("starting", VERSION, flush=True)
signal.signal(signal.SIGTERM, stop)
warm_up()
if os.path.isdir("/scratch") and os.environ.get("WRITES"):
    with open("/scratch/by-server", "w") as file:
        file.write("x")
print("serving", flush=True)
sys.stdout.flush()
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
