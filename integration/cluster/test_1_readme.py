"""The README's own commands, word for word, and then a pod: cold, captured, and the next one restored."""

import os
import re

from hack.clusterlib.place import REPOSITORY

from integration.cluster.cluster import COMES_WITHIN_S, Cluster, is_ready, wait_until


def quick_start() -> list[str]:
    """The lines of the first block behind "Use it"."""
    with open(f"{REPOSITORY}/README.md") as file:
        behind = file.read().partition("## Use it")[2]
    found = re.search(r"```\n(.*?)```", behind, re.DOTALL)
    assert found is not None
    return [line.partition("#")[0].strip() for line in found[1].splitlines() if line.strip()]


def test_the_readme_s_commands(cluster: Cluster) -> None:
    before = cluster.run("cat", "/etc/containerd/config.toml").stdout
    lines = quick_start()
    assert len(lines) >= 3 and lines[0].startswith("hack/bootstrap-node.sh")
    os.chdir(REPOSITORY)
    for line in lines:
        done = cluster.run("/bin/bash", "-c", line, check=False, online=True)
        said = [text for text in done.stdout.splitlines() if not text.startswith("ok ")]
        assert done.returncode == 0, (line, said, done.stderr)
    assert cluster.run("glowplug", "node", "status").returncode == 0
    cluster.configure(min_free_bytes=0)  # this machine's disk may be fuller than a node's
    cluster.run("cp", "/etc/containerd/config.toml", "/root/with-handler.toml")
    assert cluster.run("cat", "/etc/containerd/config.toml.glowplug-original").stdout == before


def test_a_pod_starts_cold_and_the_next_one_is_restored(cluster: Cluster) -> None:
    """The example's pod, with an image that is here. Nobody has set a label on the node."""
    with open(f"{REPOSITORY}/docs/examples/pod-cpu.yaml") as file:
        example = file.read()
    assert "runtimeClassName: glowplug" in example
    text = re.sub(r"image: \S+", "image: cluster.test/server:1\n      imagePullPolicy: Never", example)
    text = text.replace("3_000_000", "1_000_000")  # a second on an idle machine, several on a busy one
    path = f"{cluster.machine.place.state}/pod.yaml"
    with open(path, "w") as file:
        file.write(text)

    def outcomes() -> list[str]:
        return [start["outcome"] for start in cluster.history() if "outcome" in start]

    cluster.kubectl("apply", "-f", path)
    wait_until(
        lambda: "captured" in cluster.run("glowplug", "history", "--captures").stdout,
        COMES_WITHIN_S,
        "the capture",
    )
    assert outcomes()[-1].startswith("cold:no-checkpoint")
    cluster.kubectl("delete", "-f", path, "--grace-period=1")  # its server has no handler for SIGTERM
    cluster.kubectl("apply", "-f", path)
    wait_until(lambda: outcomes()[-1] == "restored", COMES_WITHIN_S, "the second pod restored")
    # A kubelet that has not seen the pod run yet ends it with its next look at all pods alone, a minute later.
    wait_until(lambda: all(map(is_ready, cluster.pods("default"))), COMES_WITHIN_S, "the second pod ready")
    cluster.kubectl("delete", "-f", path, "--grace-period=1")
