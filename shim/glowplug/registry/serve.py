"""The process that serves this node's checkpoints to others: `python -m glowplug.registry.serve`.

The agent starts it, with its configuration in one line on the input, and keeps that open: its end is the agent's end,
however that came about.
"""

import json
import os
import sys
import threading

from glowplug.cache.store import Store
from glowplug.config import Config, limits
from glowplug.errors import GlowplugError
from glowplug.registry import heap
from glowplug.registry.catalog import Catalog
from glowplug.registry.peer_server import PeerServer
from glowplug.registry.task import NICE


def main() -> int:
    """The exit status: 0 where the agent ended it, 1 where it can't serve; then a line on standard error says why."""
    settings = Config(**json.loads(sys.stdin.buffer.readline()))
    os.nice(NICE)
    heap.keep_large_blocks()
    try:
        server = PeerServer(
            settings.registry, Catalog(Store(settings.cache, limits(settings)), settings.registry)
        )
    except (GlowplugError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    threading.Thread(target=server.serve_forever, name="serve", daemon=True).start()
    sys.stdin.buffer.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
