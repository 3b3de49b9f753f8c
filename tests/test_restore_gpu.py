"""The GPU side of a restore, as its steps call it."""

import signal
import subprocess

from glowplug.restore.gpu import Gpu


def test_one_that_another_ended_before_its_turn_is_no_fault() -> None:
    """A parent that runs already takes in its dead child, say; to throw the tree away now would be too late."""
    ended = subprocess.Popen(["true"])
    ended.wait(timeout=60)
    waiting = subprocess.Popen(["sleep", "60"])
    gpu = Gpu([], "")
    try:
        gpu._tree = [ended.pid, waiting.pid]
        waiting.send_signal(signal.SIGSTOP)
        gpu.let_run()
        with open(f"/proc/{waiting.pid}/stat") as stat:
            assert stat.read().split()[2] != "T"
    finally:
        gpu.close()
        waiting.kill()
        waiting.wait(timeout=60)
