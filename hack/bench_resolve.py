"""How long the agent takes to answer `resolve` with a full cache.

A private node with a real container and a real agent; the cache is filled through the store, with manifests
like the captured one's. Put over the agent's socket as the runtime does, a question at a time, each answered
with a match. Milliseconds; agent_cpu_ms is what the agent's process used for one, whatever else ran.
"""

import json
import os
import statistics
import sys
import time
from dataclasses import replace

import click

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from integration import images
from integration.captured import capture
from integration.node import Node
from integration.pods import Container, Pods

from glowplug.cache.digest import digest_files
from glowplug.cache.evict import Limits
from glowplug.cache.store import Store
from glowplug.checkpoint import key
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint.manifest import File, Key, Manifest
from glowplug.containerd.client import Containerd

OF_THIS_WORKLOAD = 5
WARM_UP = 3


@click.command()
@click.option("--checkpoints", default=1000, show_default=True, type=click.IntRange(2), help="In the cache.")
@click.option(
    "--same",
    default=OF_THIS_WORKLOAD,
    show_default=True,
    type=click.IntRange(1),
    help="How many of them are of the container's own workload.",
)
@click.option("--runs", default=500, show_default=True, type=click.IntRange(100), help="Questions.")
@click.option("--json", "file", metavar="FILE", help="Write the figures there too.")
def main(checkpoints: int, same: int, runs: int, file: str | None) -> None:
    """The agent's answer to `resolve` with a full cache."""
    with Node(settings={"min_free_bytes": 0}) as node:
        figures = {
            "checkpoints": checkpoints,
            "same_workload": same,
            **_measure(node, checkpoints, same, runs),
        }
    print(json.dumps(figures))
    if file:
        with open(file, "w") as opened:
            json.dump(figures, opened)


def _measure(node: Node, checkpoints: int, of_this_workload: int, runs: int) -> dict[str, float]:
    node.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
    pods = Pods(node)
    container = pods.run(name="web").container()
    container.start()
    container.serves()
    captured = capture(node, "default", "web")
    if captured.returncode != 0:
        raise click.ClickException(captured.stderr)
    _fill(node, json.loads(captured.stdout)["checkpoint"], checkpoints, of_this_workload)
    node.start_agent()
    bundle = _bundle(node, container)
    first = _ask(node, container, bundle)
    for _ in range(WARM_UP):
        _ask(node, container, bundle)
    cpu_before = _cpu_s(node)
    answered_ms = [_ask(node, container, bundle) * 1000 for _ in range(runs)]
    cpu_s = _cpu_s(node) - cpu_before
    pods.remove_all()
    return {
        "p50_ms": round(statistics.median(answered_ms), 3),
        "p99_ms": round(statistics.quantiles(answered_ms, n=100)[98], 3),
        "max_ms": round(max(answered_ms), 3),
        "first_ms": round(first * 1000, 3),
        "agent_cpu_ms": round(cpu_s * 1000 / runs, 3),
    }


def _cpu_s(node: Node) -> float:
    """Seconds of CPU time that the agent has used (proc_pid_stat(5): utime, stime)."""
    with open(f"/proc/{node.agent_pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _bundle(node: Node, container: Container) -> str:
    """A bundle as containerd made it: the container's own was edited at its cold start (docs/edits.md)."""
    directory = f"{node.names.state}/bundle"
    os.mkdir(directory)
    with Containerd(node.names.socket) as containerd, open(f"{directory}/config.json", "w") as file:
        json.dump(containerd.container(container.id).spec, file)
    return directory


def _ask(node: Node, container: Container, bundle: str) -> float:
    """Seconds of one question that is answered with a match."""
    from glowplug import paths
    from glowplug.outcomes import ask

    paths.RUN_DIR = node.names.run_dir
    before = time.perf_counter()
    answer = ask.ask({"op": "resolve", "container": container.id, "bundle": bundle}, deadline_s=60)
    seconds = time.perf_counter() - before
    if answer.get("verdict") != "match":
        raise click.ClickException(f"expected a match, got {answer}")
    return seconds


def _fill(node: Node, like: str, checkpoints: int, of_this_workload: int) -> None:
    """Publish until there are that many, of_this_workload of them with the captured one's key."""
    store = Store(node.names.cache, Limits())
    captured = manifests.loads(store.manifest(like))
    for number in range(checkpoints - 1):
        own = number < of_this_workload - 1
        _publish(
            store,
            replace(captured, created=_moment(number), key=captured.key if own else _key(captured, number)),
        )


def _publish(store: Store, manifest: Manifest) -> None:
    """One with files of the captured one's names and kinds, a few bytes each."""
    with store.draft(1 << 16) as draft:
        for path, kept in manifest.files.items():
            if kept.kind in ("image", "pages", "memory"):
                os.makedirs(os.path.dirname(f"{draft.path}/{path}"), exist_ok=True)
                with open(f"{draft.path}/{path}", "w") as opened:
                    opened.write(path)
        files = {
            path: File(str(entry["kind"]), int(entry["size"]), str(entry["digest"]))
            for path, entry in digest_files(draft.path).items()
        }
        store.publish(draft, manifests.dumps(replace(manifest, files=files)))


def _key(captured: Manifest, number: int) -> Key:
    """That of another workload: one variable differs."""
    env = dict(captured.key.parts["env"])  # type: ignore[call-overload]
    parts = {**captured.key.parts, "env": {**env, "NUMBER": f"{number:032x}"}}
    return Key(key.digest(parts), parts)


def _moment(number: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60 - number))


if __name__ == "__main__":
    main()
