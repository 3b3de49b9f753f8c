"""A container without a GPU costs nothing of what GPUs need: not even an import."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "glowplug.runtime.create",
        "glowplug.restore.steps",
        "glowplug.capture.pipeline",
        "glowplug.agent.serving.resolve",
    ],
)
def test_what_every_container_passes_through_imports_no_gpu_code(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert [
        name for name in done.stdout.split() if name == "pynvml" or name.startswith("glowplug.cuda")
    ] == []
