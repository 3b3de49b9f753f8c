"""A pod of the handler on a node that hack/bootstrap-node.sh made: cold, captured, restored. Run by hack/fresh-node.

With the Glowplug that was installed, not the one of this repository; the images are made here and imported. Its
argument is the cgroup that the pods' own ones are in; the caller removes that.
"""

import sys
import time
from dataclasses import replace

from integration import images
from integration.cri_client import Cri
from integration.cri_specs import PodSpec
from integration.node_script import run, say
from integration.pods import Container, Pod
from integration.waiting import wait_until

READY_WITHIN_S = 30.0


def main() -> None:
    """Prints a line for each start. Raises AssertionError: the second one is no restore of the first."""
    with Cri() as cri:
        for archive in (images.pause_image(), images.workload_image()):
            run("ctr", "-n", "k8s.io", "images", "import", archive)
        wait_until(lambda: cri.image_status(images.WORKLOAD_IMAGE), READY_WITHIN_S, "the image known to CRI")
        first = _started(cri, "first")
        token = first.get("/token")
        say(run("glowplug", "capture", "-n", "default", "first").splitlines()[-1])
        first.pod.remove()
        second = _started(cri, "second")
        assert second.get("/token") == token, "expected the captured process, got a new one"
        say(run("glowplug", "history", "-n", "default"))
        second.pod.remove()


def _started(cri: Cri, name: str) -> Container:
    spec = replace(PodSpec(name=name, cgroup_parent=f"/{sys.argv[1]}"), log_directory=f"/var/log/pods/{name}")
    before = time.monotonic()
    container = Pod(cri, spec, "glowplug").serving({"WORKLOAD_MEMORY_MB": "64"})
    say(f"pod {name} answers after {time.monotonic() - before:.2f} s")
    return container


if __name__ == "__main__":
    main()
