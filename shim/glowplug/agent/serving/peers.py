"""Keeps the process that serves this node's checkpoints to others (registry/serve.py), where the node is to."""

import json
import logging
import subprocess
import sys
import threading
from dataclasses import asdict

from glowplug.config import Config

log = logging.getLogger("glowplug.agent")

AGAIN_S = (1.0, 5.0, 30.0)
"""After it ended on its own; the last one again and again."""
STOPS_WITHIN_S = 5.0


class PeerServing(threading.Thread):
    """From `start` to `close`; ends at once where `registry.serve` is not set."""

    def __init__(self, config: Config) -> None:
        super().__init__(name="peers", daemon=True)
        self._config = config
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """Ends it."""
        self._stopping.set()
        with self._lock:
            if self._child is not None:
                self._child.kill()  # it has nothing to tidy
        if self.is_alive():
            self.join(STOPS_WITHIN_S)

    def run(self) -> None:
        """Until `close`."""
        turn = 0
        while self._config.registry.serve and not self._stopping.is_set():
            why = self._serve()
            if not self._stopping.is_set():
                log.warning("serving checkpoints to other nodes has ended, and is restarted: %s", why)
            self._stopping.wait(AGAIN_S[min(turn, len(AGAIN_S) - 1)])
            turn += 1

    def _serve(self) -> str:
        """Until the process ends; the last line that it wrote."""
        with self._lock:
            if self._stopping.is_set():
                return ""
            self._child = child = subprocess.Popen(
                [sys.executable, "-m", "glowplug.registry.serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                process_group=0,
            )
        assert child.stdin is not None and child.stderr is not None
        try:
            child.stdin.write(json.dumps(asdict(self._config)).encode() + b"\n")
            child.stdin.flush()
        except OSError:
            pass  # it ended; why, it says on its standard error
        last = b""
        for line in child.stderr:
            last = line
        status = child.wait()
        child.stderr.close()
        child.stdin.close()
        return last.decode(errors="replace").strip()[:300] or f"it ended with status {status}"
