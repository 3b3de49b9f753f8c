"""Checkpoints pushed and pulled over loopback, against `oras push` and `oras pull` of a file of the same bytes.

Both speak with Debian's docker-registry, alternating, each turn with a repository of its own; ours compresses, encrypts
and signs on the way there; on the way back it verifies, decrypts, and has on the disk what it publishes. The bytes are
random, so that no compression makes them less. And what a second checkpoint of one server adds: captured once more
from the same process, after it has answered; from the server's second pod, which was restored from it; and from one
that was started cold, under another key.
"""

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import click

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."), "shim"]

from hack.demolib.image import IMAGE, model_server_image
from integration.captured import capture, outcome
from integration.node import GLOWPLUG, Node
from integration.pods import Container, Pods
from integration.registry import PROGRAMS, Registry
from integration.shared_keys import fleet, toml_keys
from integration.waiting import wait_until
from tests import cache_made, checkpoint_made

from glowplug.cache.digest import digest_files
from glowplug.cache.store import Store
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint.manifest import File
from glowplug.jsontext import dumps
from glowplug.registry.settings import RegistrySettings

_CHUNK = 8 << 20
_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@click.command()
@click.option("--mb", default=500, show_default=True, type=click.IntRange(1), help="Megabytes of memory.")
@click.option("--turns", default=3, show_default=True, type=click.IntRange(1), help="Of each; medians.")
@click.option("--no-captures", is_flag=True, help="Leave out the second checkpoint of a real server.")
@click.option("--json", "file", metavar="FILE", help="Write the figures there too.")
def main(mb: int, turns: int, no_captures: bool, file: str | None) -> None:
    """Push and pull against oras, and what a second checkpoint adds."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the registry is stopped
    with (
        tempfile.TemporaryDirectory(prefix="bench-registry-", dir=f"{_HERE}/.build") as folder,
        Registry(folder, tls=False) as registry,
    ):
        figures = _speed(registry, folder, mb, turns)
        if not no_captures:
            figures["second_checkpoint"] = _second(registry, folder)
    print(json.dumps(figures))
    if file:
        with open(file, "w") as opened:
            json.dump(figures, opened)


def _speed(registry: Registry, folder: str, mb: int, turns: int) -> dict[str, Any]:
    plain = f"{folder}/memory"
    _random_file(plain, mb * 1_000_000)
    os.environ["PYTHONPYCACHEPREFIX"] = f"{folder}/bytecode"  # as on a node, where pip has compiled it
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    store = Store(f"{folder}/a")
    checkpoint, tag = _checkpoint(store, plain)
    seconds: dict[str, list[tuple[float, float]]] = {
        name: [] for name in ("oras push", "push", "oras pull", "pull")
    }
    for turn in range(turns + 1):
        settings = fleet(f"{folder}/keys", registry, repository=f"{registry.host}/turn{turn}")
        place = f"{registry.host}/oras{turn}:x"
        config_a, config_b = (_config(folder, name, settings) for name in ("a", f"b{turn}"))
        again = f"{folder}/again{turn}"
        os.mkdir(again)
        took = {
            "oras push": _run(f"{PROGRAMS}/oras", "push", "--plain-http", place, "memory", cwd=folder),
            "push": _run(GLOWPLUG, "push", "--config", config_a, checkpoint),
            "oras pull": _run(f"{PROGRAMS}/oras", "pull", "--plain-http", place, "-o", again),
            "pull": _run(GLOWPLUG, "pull", "--config", config_b, "-n", "models", "--any-host", tag),
        }
        subprocess.run(["rm", "-rf", again, f"{folder}/b{turn}"], check=True)
        for name, value in took.items():
            if turn:  # the first one warms up
                seconds[name].append(value)
    figures: dict[str, Any] = {"mb": mb, "cores": len(os.sched_getaffinity(0)), "turns": turns}
    for way in ("push", "pull"):
        (ours, our_cpu), (theirs, their_cpu) = (
            tuple(statistics.median(column) for column in zip(*seconds[name], strict=True))
            for name in (way, f"oras {way}")
        )
        print(
            f"{way:5} {mb} MB   oras {theirs:5.2f} s (CPU {their_cpu:.2f} s)   "
            f"glowplug {ours:5.2f} s (CPU {our_cpu:.2f} s)   {theirs / ours:.0%} of oras's speed"
        )
        figures[way] = {
            "oras_s": round(theirs, 3),
            "oras_cpu_s": round(their_cpu, 3),
            "glowplug_s": round(ours, 3),
            "glowplug_cpu_s": round(our_cpu, 3),
            "speed": round(theirs / ours, 3),
        }
    return figures


def _second(registry: Registry, folder: str) -> dict[str, Any]:
    """Of the demo's model server: sent bytes of the first checkpoint, of another of that process, of other pods'."""
    settings = fleet(f"{folder}/keys", registry, repository=f"{registry.host}/captures")
    with Node(settings=toml_keys(settings)) as node:
        node.import_image(model_server_image(), IMAGE)
        node.start_agent()
        pods = Pods(node)
        try:
            first = pods.run(name="first").container(image=IMAGE)
            first.start()
            _answers(first)
            found = {"first": _pushed(node, "first")}
            _answers(first)
            found["same_process"] = _pushed(node, "first")
            restored = pods.run(name="restored").container(image=IMAGE)
            restored.start()
            if outcome(node, restored) != "restored":
                raise click.ClickException("the second pod of the server was not restored")
            _answers(restored)
            found["restored_pod"] = _pushed(node, "restored")
            second = pods.run(name="second").container(image=IMAGE, env={"CASE": "second"})
            second.start()
            _answers(second)
            found["cold_pod"] = _pushed(node, "second")
        finally:
            pods.remove_all()
    for name, one in found.items():
        print(
            f"{name:13} {one['content'] / 1e6:6.1f} MB of checkpoint, {one['stored'] / 1e6:6.1f} MB of blobs, "
            f"{one['sent'] / 1e6:6.1f} MB sent ({one['sent'] / one['stored']:.0%})"
        )
    return found


def _pushed(node: Node, pod: str) -> dict[str, Any]:
    done = capture(node, "default", pod)
    if done.returncode:
        raise click.ClickException(done.stderr)
    checkpoint = json.loads(done.stdout)["checkpoint"]
    command = [GLOWPLUG, "push", "--json", "--config", node.names.config, checkpoint]
    pushed = subprocess.run(command, env=node.env, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(pushed.stdout)[0]
    return found


def _answers(container: Container) -> None:
    def ready() -> bool:
        try:
            return bool(json.loads(container.get("/healthz"))["ready"])
        except (OSError, ValueError):
            return False

    wait_until(ready, 120, "the model server is ready")
    for _ in range(20):
        container.get("/token")


def _random_file(path: str, size: int) -> None:
    with open(path, "wb") as file:
        for at in range(0, size, _CHUNK):
            file.write(os.urandom(min(_CHUNK, size - at)))


def _checkpoint(store: Store, memory: str) -> tuple[str, str]:
    """One whose memory is that file; its id and tag."""
    with store.draft(os.path.getsize(memory)) as draft:
        cache_made.write(draft.path)
        subprocess.run(["cp", memory, f"{draft.path}/memory/pages-1.extent"], check=True)
        files = {
            path: File(str(one["kind"]), int(one["size"]), str(one["digest"]))
            for path, one in digest_files(draft.path).items()
        }
        checkpoint = store.publish(draft, manifests.dumps(checkpoint_made.manifest_of(files=files)))
    return checkpoint, f"c-{checkpoint}"


def _config(folder: str, name: str, settings: RegistrySettings) -> str:
    path = f"{folder}/{name}.toml"
    keys = {"cache": f"{folder}/{name}", "min_free_bytes": 0, **toml_keys(settings)}
    with open(path, "w") as file:
        file.writelines(f"{key} = {dumps(value)}\n" for key, value in keys.items())
    return path


def _run(*command: str, cwd: str | None = None) -> tuple[float, float]:
    """Seconds, and CPU seconds of the client: on a machine with other work those say more."""
    before, used = time.monotonic(), _cpu_s()
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)}: {done.stderr}")
    return time.monotonic() - before, _cpu_s() - used


def _cpu_s() -> float:
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


if __name__ == "__main__":
    main()
