"""NVIDIA's chain without NVIDIA: a runtime in front of ours edits the bundle's config.json, as nvidia-container-runtime
in CDI mode does, and a hook mounts a file over one of /proc, as nvidia-cdi-hook does.
"""

import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration import images
from integration.captured import captured
from integration.cdi_hook import CONTENT
from integration.node import RUNTIME, Node
from integration.pods import Pods

IN_FRONT = """#!{python}
import json, os, sys
arguments = sys.argv[1:]
if "create" in arguments:
    path = arguments[arguments.index("--bundle") + 1] + "/config.json"
    with open(path) as file:
        spec = json.load(file)
    if spec["annotations"].get("io.kubernetes.cri.container-type") == "container":
        hook = {{"path": "{hook}", "args": ["nvidia-cdi-hook", "disable-device-node-modification"],
                "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}}
        spec.setdefault("hooks", {{}}).setdefault("createContainer", []).append(hook)
        spec["root"]["path"] = os.path.abspath(os.path.join(os.path.dirname(path), spec["root"]["path"]))
        with open(path, "w") as file:
            json.dump(spec, file)
os.execv("{runtime}", ["{runtime}", *arguments])
"""


@pytest.fixture
def chained(tmp_path: Path) -> Iterator[Node]:
    """A node whose handler is a runtime in front of ours."""
    if os.geteuid() != 0:
        pytest.skip("a private containerd needs root")
    hook = tmp_path / "nvidia-cdi-hook"
    source = f"{images.REPOSITORY}/integration/cdi_hook.py"
    hook.write_text(f"#!/bin/sh\nexec {os.path.realpath(sys.executable)} {source}\n")
    front = tmp_path / "glowplug-runtime-chained"
    front.write_text(IN_FRONT.format(python=os.path.realpath(sys.executable), hook=hook, runtime=RUNTIME))
    for path in (hook, front):
        path.chmod(0o755)
    with Node(runtime=str(front)) as node:
        node.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        node.start_agent()
        yield node


def test_a_file_that_a_hook_mounted_over_one_of_proc_is_there_again(chained: Node) -> None:
    pods = Pods(chained)
    try:
        before = captured(chained, pods, env={"CASE": secrets.token_hex(4)})
        for _ in range(2):
            pod, container = before.restored(chained, pods)
            assert container.exec("cat", "/proc/swaps").stdout.decode() == CONTENT
            assert container.exec("sh", "-c", "echo x >/proc/swaps").exit_code != 0
            pod.remove()
    finally:
        pods.remove_all()
