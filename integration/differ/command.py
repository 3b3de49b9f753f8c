"""The command hack/differ: what differs in a pod that is restored from a checkpoint of another one."""

import argparse
import json
import subprocess
import sys
from functools import partial

from glowplug.config import Config, load
from glowplug.containerd.client import Containerd
from glowplug.errors import GlowplugError
from glowplug.outcomes import history
from integration.differ.compare import at_rest, steady
from integration.differ.facts import of
from integration.waiting import wait_until

SETTLES_WITHIN_S = 5.0


def main() -> int:
    """Exit status: 0 where nothing differs but the known, 1 where something does, 2 where it could not be tried."""
    parser = argparse.ArgumentParser(
        prog="hack/differ",
        description="Captures POD, waits for another one that is restored from it, and compares all that the kernel "
        "says of each process. Start that pod from the same spec while this waits.",
    )
    parser.add_argument("pod", metavar="POD")
    parser.add_argument("-n", "--namespace", default="default", metavar="NS")
    parser.add_argument("-c", "--container", metavar="NAME", help="where the pod has more than one")
    parser.add_argument(
        "--within", type=float, default=600.0, metavar="S", help="wait so long for the restore"
    )
    parser.add_argument("--config", metavar="FILE", help="Glowplug's configuration")
    asked = parser.parse_args()
    try:
        lines = _compare(asked)
    except (GlowplugError, LookupError, TimeoutError) as error:
        sys.stderr.write(f"differ: {error}\n")
        return 2
    sys.stdout.write("\n".join(lines or ["no difference but the known ones"]) + "\n")
    return 1 if lines else 0


def _compare(asked: argparse.Namespace) -> list[str]:
    config = load(asked.config) if asked.config else load()
    facts = steady(partial(of, _pid(config, asked)), SETTLES_WITHIN_S)
    checkpoint = _capture(asked)
    sys.stderr.write(
        f"differ: {len(facts)} facts, checkpoint {checkpoint}; waits for a pod that is restored from it\n"
    )
    awaited = f"a running container restored from checkpoint {checkpoint}"
    pid = wait_until(lambda: _restored(config, checkpoint), asked.within, awaited)
    return at_rest(facts, partial(of, pid), SETTLES_WITHIN_S)


def _pid(config: Config, asked: argparse.Namespace) -> int:
    with Containerd(config.containerd_socket, config.containerd_namespace) as containerd:
        found = containerd.find(asked.namespace, asked.pod, asked.container)
        tasks = [task for record in found if (task := containerd.task(record.id)) is not None]
    if len(tasks) != 1:
        raise LookupError(
            f"pod {asked.namespace}/{asked.pod} has {len(tasks)} running containers, expected 1"
        )
    return tasks[0].pid


def _capture(asked: argparse.Namespace) -> str:
    command = ["glowplug", "capture", "--json", "--namespace", asked.namespace]
    command += ["--config", asked.config] if asked.config else []
    command += [asked.pod, *([asked.container] if asked.container else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise LookupError(f"the capture failed: {done.stderr.strip()}")
    return str(json.loads(done.stdout)["checkpoint"])


def _restored(config: Config, checkpoint: str) -> int:
    """The first process of the container that was restored from it last; 0 where none runs."""
    found = [
        str(one.get("container_id", ""))
        for one in history.read(config.cache)
        if one.get("outcome") == "restored" and one.get("checkpoint") == checkpoint
    ]
    with Containerd(config.containerd_socket, config.containerd_namespace) as containerd:
        task = containerd.task(found[-1]) if found else None
    return task.pid if task else 0


if __name__ == "__main__":
    sys.exit(main())
