"""The process that makes one push or pull for the agent: `python -m glowplug.registry.task`, JSON on input and output.

It is no part of the agent's own process: the agent stays small, imports none of this, and a push or pull that is
killed takes nothing along. SIGTERM ends it where it is; what it had done is found by the next one.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from glowplug.cache.store import Store
from glowplug.checkpoint.requirements import HostRequirements
from glowplug.config import Config, limits
from glowplug.errors import GlowplugError, RegistryMiss
from glowplug.registry import heap, kubernetes_secrets, look, names, opened
from glowplug.registry import pull as pulls
from glowplug.registry import push as pushes

NICE = 10
"""Below whatever serves; a pull that a start waits for has the same, for it is the network that it waits for."""


def main() -> int:
    """The exit status: 0 with an answer on the output."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    task = json.load(sys.stdin)
    os.nice(NICE)
    heap.keep_large_blocks()
    json.dump(run(Config(**task["config"]), task), sys.stdout)
    return 0


def run(config: Config, task: Mapping[str, Any]) -> dict[str, object]:
    """`{"result": pushed, pulled, was-there, missed or failed, "slug": …, "detail": …}`."""
    try:
        return _push(config, task) if task["op"] == "push" else _pull(config, task)
    except RegistryMiss as error:
        return {"result": "missed", "slug": error.slug, "detail": str(error)}
    except (GlowplugError, OSError) as error:
        return {"result": "failed", "slug": "registry-failed", "detail": str(error)}


def _push(config: Config, task: Mapping[str, Any]) -> dict[str, object]:
    store = Store(config.cache, limits(config))
    namespace = str(task["namespace"])
    with (
        kubernetes_secrets.registry(config, namespace) as settings,
        opened.repository(settings, namespace) as repository,
    ):
        done = pushes.push(
            store,
            repository,
            settings,
            str(task["checkpoint"]),
            plain=settings.plain,
            labels={str(name): str(value) for name, value in task.get("labels", {}).items()},
        )
    return {
        "result": "was-there" if done.was_there else "pushed",
        "checkpoint": done.checkpoint,
        "bytes": done.content,
        "sent_bytes": done.sent,
        "took_s": done.seconds,
    }


def _pull(config: Config, task: Mapping[str, Any]) -> dict[str, object]:
    """By the workload's key, for the host and pod that `row` describes."""
    store = Store(config.cache, limits(config))
    namespace = str(task["namespace"])
    of_row: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in task["row"].items()
    }
    row = HostRequirements(**of_row)
    with (
        kubernetes_secrets.registry(config, namespace) as settings,
        opened.repository(settings, namespace) as repository,
    ):
        found = look.by_key(
            repository, settings, config.cache, namespace, str(task["key"]), names.host_class(row)
        )
        look.require_fit(found, look.on(row))
        done = pulls.pull(store, repository, settings, found)
    return {
        "result": "was-there" if done.was_there else "pulled",
        "checkpoint": done.checkpoint,
        "bytes": done.content,
        "fetched_bytes": done.fetched,
        "took_s": done.seconds,
    }


if __name__ == "__main__":
    sys.exit(main())
