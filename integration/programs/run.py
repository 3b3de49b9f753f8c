"""python3 run.py MODULE:FUNCTION…: starts each, and says over HTTP whether all is as it was then.

Each function starts something and returns a check, which raises what is wrong. Port 8000 answers
{name: "" or what the check raised}.
"""

import http.server
import importlib
import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def main(names):
    checks = {}
    for name in names:
        print("starting", name, flush=True)
        module, _, function = name.partition(":")
        checks[name] = getattr(importlib.import_module(module), function)()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            said = {}
            for name, check in checks.items():
                try:
                    check()
                    said[name] = ""
                except Exception as error:
                    said[name] = f"{type(error).__name__}: {error}"
            body = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    signal.signal(signal.SIGTERM, lambda *_: os._exit(6))
    http.server.HTTPServer(("", 8000), Handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
