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

AT_REST_WITHIN_S = 5.0


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
    options = parser.parse_args()
    try:
        lines = _compare(options)
    except (GlowplugError, LookupError, TimeoutError) as error:
        sys.stderr.write(f"differ: {error}\n")
        return 2
    sys.stdout.write("\n".join(lines or ["no difference but the known ones"]) + "\n")
    return 1 if lines else 0


def _compare(options: argparse.Namespace) -> list[str]:
    config = load(options.config) if options.config else load()
    facts = steady(partial(of, _pid(config, options)), AT_REST_WITHIN_S)
    checkpoint = _capture(options)
    sys.stderr.write(
        f"differ: {len(facts)} facts, checkpoint {checkpoint}; waits for a pod that is restored from it\n"
    )
    awaited = f"a running container restored from checkpoint {checkpoint}"
    pid = wait_until(lambda: _restored(config, checkpoint), options.within, awaited)
    return at_rest(facts, partial(of, pid), AT_REST_WITHIN_S)


def _pid(config: Config, options: argparse.Namespace) -> int:
    with Containerd(config.containerd_socket, config.containerd_namespace) as containerd:
        found = containerd.find(options.namespace, options.pod, options.container)
        tasks = [task for record in found if (task := containerd.task(record.id)) is not None]
    if len(tasks) != 1:
        raise LookupError(
            f"pod {options.namespace}/{options.pod} has {len(tasks)} running containers, expected 1"
        )
    return tasks[0].pid


def _capture(options: argparse.Namespace) -> str:
    command = ["glowplug", "capture", "--json", "--namespace", options.namespace]
    command += ["--config", options.config] if options.config else []
    command += [options.pod, *([options.container] if options.container else [])]
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
