"""A pod's life on a node whose process 1 is systemd. Run by hack/systemd-node, with the Glowplug that was installed.

    python -m integration.systemd_node BUNDLE

Captured by the agent's unit, restored into a scope of its own, kept over a repair, an upgrade and the way back.
"""

import glob
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace

from integration import images
from integration.cri_client import Cri
from integration.cri_specs import PodSpec
from integration.node_script import run, say
from integration.pods import Container, Pod, generated_name
from integration.waiting import wait_until

CONFIG = "/etc/containerd/config.toml"
PARENT = "glowplug-pods.slice"
ANNOTATIONS = {"glowplug.dev/containers": "main", "glowplug.dev/ready": "http://:8000/token"}
ENVIRONMENT = {"WORKLOAD_MEMORY_MB": "64", "WORKLOAD_WORK": "2000000"}
CURRENT = "/opt/glowplug/current"
SETUP = "glowplug-setup"
SAID = "/run/glowplug-setup.log"
COMES_WITHIN_S = 180.0
INSTALLED_WITHIN_S = 300.0
RESTORES = 20
REPAIRED_WITHIN_S = 30.0


def main(bundle: str) -> None:
    """Prints a line for each step. Raises AssertionError, TimeoutError."""
    for archive in (images.pause_image(), images.workload_image()):
        run("ctr", "-n", "k8s.io", "images", "import", archive)
    with Cri() as cri:
        wait_until(lambda: cri.image_status(images.WORKLOAD_IMAGE), COMES_WITHIN_S, "the image known to CRI")
        first = _started(cri, "first")
        wait_until(
            lambda: " captured " in run("glowplug", "history", "--captures"),
            COMES_WITHIN_S,
            "the agent's capture",
        )
        say(run("glowplug", "history", "--captures"))
        token = first.get("/token")
        restored = _restored(cri, "the second pod", token)
        for number in range(RESTORES):
            _restored(cri, f"restore {number + 1} of {RESTORES}", token).pod.remove()
        _repair()
        newer = _newer(bundle)
        for what, which in (("upgraded", newer), ("back again", bundle)):
            _install(which)
            wait_until(lambda: _status() == 0, COMES_WITHIN_S, "the agent after its restart")
            assert restored.get("/token") == token
            assert restored.exec("/bin/busybox", "true").exit_code == 0
            third = _restored(cri, f"a pod on the node that was {what}", token)
            third.pod.remove()
        _damage()
        damaged = _started(cri, "a pod whose checkpoint is damaged")
        assert damaged.get("/token") != token
        starts = [one for one in json.loads(run("glowplug", "history", "--json")) if "outcome" in one]
        outcome = starts[-1]["outcome"]
        assert outcome.startswith("fallback:"), outcome
        say(f"a pod whose checkpoint is damaged ended as {outcome}, in its scope")
        damaged.pod.remove()
        stopped = restored.stop()
        say(f"the pod that lived through it all ended with status {stopped.exit_code}")
        for container in (restored, first):
            container.pod.remove()


def _started(cri: Cri, what: str) -> Container:
    spec = PodSpec(name=generated_name("unit"), cgroup_parent=PARENT, annotations=ANNOTATIONS)
    container = Pod(cri, replace(spec, log_directory=f"/var/log/pods/{spec.name}"), "glowplug").serving(
        ENVIRONMENT
    )
    _require_scope(container, what)
    return container


def _restored(cri: Cri, what: str, token: bytes) -> Container:
    container = _started(cri, what)
    assert container.get("/token") == token, f"{what}: expected the captured process, got a new one"
    say(f"{what} was restored")
    return container


def _require_scope(container: Container, what: str) -> None:
    """The container is in a scope that systemd knows, below its pod's slice."""
    with open(f"/proc/{container.pid}/cgroup") as file:
        path = file.read().strip().rpartition("::")[2]
    scope = f"cri-containerd-{container.id}.scope"
    assert path.endswith(f"/{PARENT}/{scope}"), f"{what}: {path}"
    state = run("systemctl", "is-active", scope).strip()
    say(f"{what}: {path[:60]}… is {state}")


def _repair() -> None:
    """Somebody writes containerd's configuration again, without the handler."""
    with open(CONFIG) as file:
        before = file.read()
    shutil.copyfile(f"{CONFIG}.glowplug-original", CONFIG)  # the mode stays
    wait_until(lambda: _text(CONFIG) == before, REPAIRED_WITHIN_S, "the handler put back")
    wait_until(lambda: _status() == 0, COMES_WITHIN_S, "the agent")
    say("a rewritten configuration was repaired by the unit")


def _damage() -> None:
    """Every checkpoint of the node, so that CRIU stumbles in the middle."""
    for path in glob.glob("/var/lib/glowplug/checkpoints/*/images/mm-*.img"):
        with open(path, "r+b") as file:
            file.seek(16)
            file.write(b"\xff" * 64)


def _newer(bundle: str) -> str:
    """The same bundle as another version: its wheel with one more file."""
    newer = f"{bundle}-newer"
    shutil.copytree(bundle, newer)
    wheel = next(name for name in os.listdir(newer) if name.startswith("glowplug-"))
    with zipfile.ZipFile(f"{newer}/{wheel}", "a") as file:
        file.writestr("glowplug/newer.txt", "another version\n")
    return newer


def _install(bundle: str) -> None:
    """As the DaemonSet's pod does it (image/on-node), which is killed in the middle: the unit continues to its end."""
    before = os.readlink(CURRENT)
    words = ("systemd-run", "--quiet", "--wait", "--collect", f"--unit={SETUP}")
    script = ("sh", "-c", 'exec "$@" >"$0" 2>&1', SAID, "bash", "hack/bootstrap-node.sh", "--offline", bundle)
    with subprocess.Popen([*words, f"--working-directory={os.getcwd()}", *script]) as caller:
        wait_until(lambda: _is_active(SETUP), COMES_WITHIN_S, "the unit running")
        caller.kill()
    wait_until(lambda: not _is_active(SETUP), INSTALLED_WITHIN_S, "the unit's end")
    say(_text(SAID).splitlines()[-1])
    assert os.readlink(CURRENT) != before


def _is_active(unit: str) -> bool:
    return subprocess.run(["systemctl", "is-active", "--quiet", unit]).returncode == 0


def _status() -> int:
    return subprocess.run(["glowplug", "status"], capture_output=True).returncode


def _text(path: str) -> str:
    with open(path) as file:
        return file.read()


if __name__ == "__main__":
    main(sys.argv[1])
