"""A complete run of the demo: image, node, story, figures, clean-up, and the exit status that says how it went."""

import contextlib
import json
import os
import subprocess
import sys
import time

from hack.demolib import child, story
from hack.demolib.figures import Figures
from hack.demolib.image import IMAGE, is_made, model_server_image
from hack.demolib.interrupt import Interrupted, Interruptions
from hack.demolib.show import Display
from integration.node import CRIU, Node
from integration.sweep import sweep, sweep_abandoned

from glowplug.errors import GlowplugError

FAILED = 1
SIGNALLED = 128
FAULTS = (story.Broken, child.Failed, GlowplugError, OSError, ValueError, subprocess.SubprocessError)


def run(interruptions: Interruptions, json_file: str, keep: bool, auto: bool) -> int:
    """The exit status: 0 when the second start was the first one's process.

    `json_file`: where the figures go, or empty. `keep`: leave the node and the restored pod. `auto`: the agent
    captures.
    """
    display = Display()
    try:
        with interruptions.allowed():
            archive = _image(display)
        sweep_abandoned()  # whose owner was killed, or that --keep left
        figures = _on_a_node(display, interruptions, archive, keep, auto)
        with interruptions.allowed():
            if json_file:
                _write(json_file, figures)
            display.figures(figures)
        mismatch = figures.mismatch()
    except Interrupted as interrupted:
        _complain(f"interrupted by {interrupted}, everything removed")
        return SIGNALLED + interrupted.number
    except FAULTS as fault:
        mismatch = str(fault) or type(fault).__name__
    if mismatch:
        _complain(mismatch)
    return FAILED if mismatch else 0


def _image(display: Display) -> str:
    began = time.monotonic()
    made = is_made()
    with display.doing("builds the image of the model server"):
        archive = model_server_image()
    if not made:
        display.say(
            "image", f"model server with its three OCR models, built in {time.monotonic() - began:.0f} s"
        )
    return archive


def _on_a_node(
    display: Display, interruptions: Interruptions, archive: str, keep: bool, auto: bool
) -> Figures:
    """The story on a node of its own, which is gone afterwards unless it is to be kept."""
    node = Node()
    try:
        with interruptions.allowed():
            figures = _on(node, display, archive, auto)
    except BaseException as fault:
        if keep and not isinstance(fault, Interrupted):
            _keep(display, node)
        else:
            _remove(display, node)
        raise
    if keep:
        _keep(display, node)
        return figures
    left = _remove(display, node)
    if left:
        raise story.Broken(f"expected nothing left on this machine, had to remove: {'; '.join(left)}")
    return figures


def _on(node: Node, display: Display, archive: str, auto: bool) -> Figures:
    with display.doing("starts a containerd of its own"):
        node.start()
    display.say("node", _versions(node))
    with display.doing("imports the image"):
        node.import_image(archive, IMAGE)
    with display.doing("starts the agent"):
        node.start_agent()
    display.say("image", f"{os.path.getsize(archive) / 1e6:.0f} MB, imported; the agent runs")
    return story.report(node, display.say, display.doing, auto)


def _keep(display: Display, node: Node) -> None:
    display.say("kept", f"{node.names.state}, its containerd at c.sock in it; hack/clean removes it")
    variables = f"GLOWPLUG_CONFIG={node.names.config} GLOWPLUG_RUN_DIR={node.names.run_dir}"
    display.say("to see it", f"export {variables}; .venv/bin/glowplug history")


def _remove(display: Display, node: Node) -> list[str]:
    """Everything of the node, with a word on each thing that its owner had left. A lost terminal is no hindrance."""
    with contextlib.suppress(OSError):
        display.say("clean-up", "removes the pod, containerd, the agent and the checkpoint")
    try:
        return node.stop()
    except FAULTS as fault:
        return [str(fault), *sweep(node.names)]


def _versions(node: Node) -> str:
    runc = child.output(["runc", "--version"]).split()[2]
    criu = child.output([CRIU, "--version"]).split()[1]
    containerd = ".".join(map(str, node.version))
    linux = os.uname().release.partition("-")[0]
    return f"containerd {containerd}, runc {runc}, CRIU {criu}, Linux {linux}"


def _write(path: str, figures: Figures) -> None:
    with open(path, "w") as file:
        json.dump(figures.as_json(), file, indent=2)
        file.write("\n")


def _complain(message: str) -> None:
    """One line on standard error."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"demo: {' '.join(message.split())}\n")
