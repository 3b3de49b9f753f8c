"""Tokens drawn at start: in CPU memory, in a file of the writable layer, on the device."""

from __future__ import annotations

import os
import threading

import device_state
import serving

FILE = "/root/token"


def main() -> None:
    """GET /tokens and /step."""
    memory = os.urandom(16).hex()
    with open(FILE, "w") as file:
        file.write(os.urandom(16).hex())
    device = device_state.allocate()
    lock = threading.Lock()

    def tokens() -> dict[str, object]:
        with lock, open(FILE) as file:
            return {"memory": memory, "file": file.read(), "device": device.token()}

    def step() -> dict[str, object]:
        with lock:
            return {"steps": device.step(), "where": device.where()}

    serving.serve({"/tokens": tokens, "/step": step})


if __name__ == "__main__":
    main()
