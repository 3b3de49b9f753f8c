"""Check (g): the tokens of (a) in pods of a real containerd, its handler `glowplug`, and containerd's own checkpoints:
`ctr task checkpoint`, and from containerd 2 on CRI's CheckpointContainer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from typing import Any

from hack.gpulib import netns
from hack.gpulib.pods import WORKLOADS, Failed, Skipped
from hack.gpulib.setup import Setup
from integration.captured import capture, records
from integration.node import Node
from integration.oci_archive import ImageConfig, LayerTar, write_archive
from integration.pods import Container, Pod, Pods

from integration.cri_specs import Device, Mount

IMAGE = "glowplug.test/gpu-check:1"
PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "tini")
SKELETON = ("dev", "proc", "sys", "run", "tmp", "root", "etc", "usr", "opt", "check", "var/tmp")
READY_S = 90.0
ANSWER_S = 60.0


def tokens(setup: Setup) -> dict[str, Any]:
    """Captured, removed, restored, twice over; then containerd's checkpoints, which the container lives through."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        raise Skipped(f"no {', '.join(lacking)} here")
    criu = shutil.which("criu", path=setup.node.env["PATH"])
    with Node(settings={"criu": criu, "min_free_bytes": 1 << 30}) as node:
        archive = f"{node.names.state}/image.tar"
        _make_image(archive, node.names.state)
        node.import_image(archive, IMAGE)
        node.start_agent()
        pods = Pods(node)
        try:
            return {"containerd": ".".join(map(str, node.version)), **_tokens(setup, node, pods)}
        finally:
            pods.remove_all()


def _tokens(setup: Setup, node: Node, pods: Pods) -> dict[str, Any]:
    pod, container, cold = _start(setup, node, pods, "cold:")
    planted, steps = _ask(container, "/tokens"), _ask(container, "/step")["steps"]
    times = []
    for _ in range(2):
        done = capture(node, pod.spec.namespace, pod.spec.name)
        if done.returncode != 0:
            raise Failed(f"expected a capture, got {done.stderr}")
        _expect(planted, _ask(container, "/tokens"), "the tokens after the capture")
        pod.remove()
        pod, container, seconds = _start(setup, node, pods, "restored")
        times.append(seconds)
        _expect(planted, _ask(container, "/tokens"), "the tokens planted before the capture")
        steps += 1
        _expect(steps, _ask(container, "/step")["steps"], "the device's counter")
    found = {"cold_s": cold, "restore_s": times, "task_checkpoint_s": _task_checkpoint(node, container)}
    setup.require_suspended(container.pid, 1)
    _expect(planted, _ask(container, "/tokens"), "the tokens after `ctr tasks checkpoint`")
    _expect(steps + 1, _ask(container, "/step")["steps"], "the device's counter after it")
    if node.version >= (2,):
        found["cri_checkpoint_s"] = _cri_checkpoint(node, container)
        setup.require_suspended(container.pid, 2)
        _expect(planted, _ask(container, "/tokens"), "the tokens after CRI's CheckpointContainer")
        _expect(steps + 2, _ask(container, "/step")["steps"], "the device's counter after it")
    return found


def _task_checkpoint(node: Node, container: Container) -> float:
    """Seconds that it took."""
    images = f"{node.names.state}/images"
    began = time.monotonic()
    try:
        node.ctr("tasks", "checkpoint", "--image-path", images, container.id)
    except subprocess.CalledProcessError as error:
        raise Failed(f"expected a task checkpoint, ctr said: {error.stderr}") from error
    took = round(time.monotonic() - began, 3)
    if not os.path.exists(f"{images}/inventory.img"):
        raise Failed(f"no CRIU images in {images}")
    return took


def _cri_checkpoint(node: Node, container: Container) -> float:
    """Seconds that it took."""
    archive = f"{node.names.state}/checkpoint.tar"
    began = time.monotonic()
    node.cri.checkpoint_container(container.id, archive)
    took = round(time.monotonic() - began, 3)
    with tarfile.open(archive) as opened:
        if "checkpoint/inventory.img" not in opened.getnames():
            raise Failed(f"expected CRIU's images in {archive}, got {opened.getnames()}")
    return took


def _start(setup: Setup, node: Node, pods: Pods, wanted: str) -> tuple[Pod, Container, float]:
    """A pod, and the seconds from CreateContainer to its server's first answer."""
    pod = pods.run("tokens")
    began = time.monotonic()
    container = pod.container(**_workload(setup, node))
    container.start()
    until = time.monotonic() + READY_S
    while True:
        try:
            _ask(container, "/tokens")
            break
        except OSError as error:
            if time.monotonic() > until or container.status().state != "running":
                said = "\n".join(line.text for line in container.log()[-20:])
                raise Failed(f"expected an answer within {READY_S:g} s, got {error}: {said}") from error
            time.sleep(0.01)
    seconds = round(time.monotonic() - began, 3)
    found = [one for one in records(node, container.id) if "outcome" in one]
    if not found or not str(found[0]["outcome"]).startswith(wanted):
        raise Failed(f"expected the outcome {wanted}, got {found}")
    return pod, container, seconds


def _workload(setup: Setup, node: Node) -> dict[str, Any]:
    """The fields of ContainerSpec for what (a) runs."""
    made = setup.workload("tokens", "tokens.py")
    devices = []
    for entry in made.devices:
        path = entry["path"]
        if not os.path.exists(path):  # the fake driver's: no such node on this host
            path = f"{node.names.state}/{os.path.basename(path)}"
            if not os.path.exists(path):
                os.mknod(path, entry["fileMode"], os.makedev(entry["major"], entry["minor"]))
        devices.append(Device(container_path=entry["path"], host_path=path))
    binds = [(one["source"], one["destination"]) for one in made.mounts]
    binds += [(WORKLOADS, "/check"), *((path, path) for path in host_directories())]
    return {
        "image": IMAGE,
        "command": tuple(made.args),
        "env": made.env,
        "devices": tuple(devices),
        "mounts": tuple(Mount(container_path=to, host_path=of, readonly=True) for of, to in binds),
    }


def host_directories() -> list[str]:
    """Of /usr and /opt, so cut that nothing is mounted below any: CRI binds recursively, and a mount that the
    spec does not name can't be restored.
    """
    with open("/proc/self/mountinfo") as lines:
        mounted = [line.split()[4] for line in lines]

    def cut(path: str) -> list[str]:
        if not any(point.startswith(f"{path}/") for point in mounted):
            return [path]
        below = (entry for entry in sorted(os.scandir(path), key=lambda entry: entry.name))
        return [one for entry in below if entry.is_dir(follow_symlinks=False) for one in cut(entry.path)]

    return [one for path in ("/usr", "/opt") for one in cut(path)]


def _make_image(archive: str, folder: str) -> None:
    layer = f"{folder}/layer.tar"
    with LayerTar(layer) as tar:
        for name in SKELETON:
            tar.directory(name)
        for name in ("bin", "sbin", "lib", "lib64"):
            tar.link(name, f"usr/{name}")
        tar.file("etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
    config = ImageConfig(["/usr/bin/true"], {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root"})
    write_archive(archive, IMAGE, [layer], config)


def _ask(container: Container, path: str) -> Any:
    return netns.ask(container.pid, path, ANSWER_S)


def _expect(wanted: Any, found: Any, what: str) -> None:
    if wanted != found:
        raise Failed(f"expected {what}: {wanted}, got {found}")
