"""A JSON server for the workloads: GET and POST paths answered by functions."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def serve(answers: dict[str, Callable[[], object]], port: int = 8000) -> None:
    """Listen on every address, forever."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path)
            body = json.dumps(answer() if answer else None).encode()
            self.send_response(200 if answer else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Nothing: the log is for what goes wrong."""

    ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever()
