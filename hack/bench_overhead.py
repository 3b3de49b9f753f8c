"""What a pod of the handler `glowplug` takes besides its containers, against plain runc: for a RuntimeClass's overhead.

The same pod under the handler `runc`, cold under `glowplug`, and restored, alternating. Counted are the processes
beside the container's own (pause process and shim), their memory, and the memory of the container's cgroup: after
the start, and the most that it ever was. Medians, in MiB. Memory of the agent is stated once: it is the node's.
"""

import json
import os
import statistics
import sys
from collections import defaultdict

import click

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."), "shim"]

from integration import captured, images, processes
from integration.node import Node
from integration.pods import Container, Pod, Pods

MIB = 1 << 20
FILES = {
    "usage_mib": ("memory.usage_in_bytes", "memory.current"),
    "peak_mib": ("memory.max_usage_in_bytes", "memory.peak"),
}
"""Of a memory cgroup, on v1 and on v2."""


@click.command()
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="Of each kind.")
@click.option("--memory-mb", default=128, show_default=True, help="That the workload holds.")
@click.option("--json", "file", metavar="FILE", help="Write the figures there too.")
def main(runs: int, memory_mb: int, file: str | None) -> None:
    """Processes and memory per pod, against plain runc."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with Node() as node:
        node.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        node.start_agent()
        pods = Pods(node)
        env = {"WORKLOAD_MEMORY_MB": str(memory_mb)}
        warm = captured.captured(node, pods, env=env)
        for turn in range(runs):
            for kind in ("runc", "cold", "restored"):
                if kind == "restored":
                    pod, container = warm.restored(node, pods)
                else:
                    handler = "runc" if kind == "runc" else "glowplug"
                    pod = pods.run(name=f"{kind}-{turn}", handler=handler)
                    container = pod.serving({**env, "CASE": f"{kind}-{turn}"})
                for name, value in _figures(pod, container).items():
                    found[kind][name].append(value)
                pod.remove()
        agent = _resident(node.agent_pid or 0) / MIB
    figures = {
        kind: {name: round(statistics.median(values), 1) for name, values in reported.items()}
        for kind, reported in found.items()
    }
    names = list(figures["runc"])
    print(f"{'':10}" + "".join(f"{name:>18}" for name in names))
    for kind, reported in figures.items():
        print(f"{kind:10}" + "".join(f"{reported[name]:18.1f}" for name in names))
    print(f"the agent, once per node: {agent:.1f} MiB")
    result = {**figures, "agent_mib": round(agent, 1), "memory_mb": memory_mb, "runs": runs}
    print(json.dumps(result))
    if file:
        with open(file, "w") as opened:
            json.dump(result, opened)


def _figures(pod: Pod, container: Container) -> dict[str, float]:
    """Of one running pod."""
    container.serves()
    own = set(_below(container.pid))
    beside = [pid for pid in processes.pids_naming(pod.id) if pid not in own]
    beside.append(pod.cri.pod_sandbox_status(pod.id).pid)
    directory = _memory_cgroup(container.pid)
    return {
        "processes": len(set(beside)),
        "beside_mib": sum(_resident(pid) for pid in set(beside)) / MIB,
        **{name: _first_number(directory, files) / MIB for name, files in FILES.items()},
    }


def _below(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return [pid, *(one for child in children.read().split() for one in _below(int(child)))]


def _resident(pid: int) -> int:
    """Bytes that are this process's alone or its share of (proc_pid_smaps(5), Pss)."""
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _memory_cgroup(pid: int) -> str:
    """The directory of a process's memory cgroup (cgroups(7), /proc/PID/cgroup)."""
    with open(f"/proc/{pid}/cgroup") as lines:
        places = {names: path for _, names, path in (line.strip().split(":", 2) for line in lines)}
    if "memory" in places:
        return f"/sys/fs/cgroup/memory{places['memory']}"
    return f"/sys/fs/cgroup{places['']}"


def _first_number(directory: str, names: tuple[str, ...]) -> int:
    for name in names:
        if os.path.exists(f"{directory}/{name}"):
            with open(f"{directory}/{name}") as file:
                return int(file.read())
    raise FileNotFoundError(f"none of {', '.join(names)} is in {directory}")


if __name__ == "__main__":
    main()
