"""What the checks run with: this machine's GPUs, or the fake driver where a machine has none."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hack.gpulib import spec
from hack.gpulib.pods import Failed, Node, Workload

if TYPE_CHECKING:
    from hack.gpulib.engines import Options

# Passed through to a container where they are set: how this host finds NVIDIA's libraries and PyTorch.
PASSED_THROUGH = (
    "LD_LIBRARY_PATH",
    "NCCL_NVLS_ENABLE",
    "TORCH_SYMM_MEM_DISABLE_MULTICAST",
    "NVSHMEM_DISABLE_NVLS",
)
FAKE_UUIDS = tuple(f"GPU-aaaaaaaa-0000-0000-0000-00000000000{number}" for number in (1, 2))
FAKE_GPUS = [f"/dev/nvidia{minor}" for minor in range(len(FAKE_UUIDS))]


@dataclass(slots=True)
class Setup:
    """node: where pods run. gpus: paths of device nodes by NVML's order. fake: the fake driver's folder, or "".
    engines: what is expected of the checks of engines.
    """

    node: Node
    gpus: list[str]
    fake: str = ""
    engines: Options | None = None

    def workload(
        self,
        name: str,
        program: str,
        *,
        gpu: int = 0,
        gpus: list[str] | None = None,
        env: dict[str, str] | None = None,
        mounts: list[dict[str, Any]] | None = None,
    ) -> Workload:
        """A program of workloads/ in a container with one GPU, or those with the device nodes `gpus`."""
        paths = [self.gpus[gpu]] if gpus is None else gpus
        return workload(paths, self.fake, name, program, env=env, mounts=mounts)

    def fail_restores(self, failing: bool) -> None:
        """Whether the fake driver fails every CUDA restore."""
        with open(f"{self.fake}/script", "w") as script:
            script.write(fake_script())
            script.write("fail restore any 2\n" if failing else "")

    def require_ptrace_hold(self, pid: int) -> None:
        """With the fake driver: no thread but the driver's own ran at the CUDA restore of a restored pod.

        pid: the pod's first process. Raises Failed.
        """
        if not self.fake:
            return
        from glowplug.host import process

        first = {words[1]: words[-1] for words in reversed(self._calls("restore"))}
        found = [first[str(one)] for one in process.tree(pid) if str(one) in first]
        if not found or set(found) != {"others-running=0"}:
            raise Failed(f"expected every other thread paused at the CUDA restore of {pid}, got {found}")

    def require_suspended(self, pid: int, times: int) -> None:
        """With the fake driver: CUDA of this process was taken off its device that many times. Raises Failed.

        The real driver's word for it is CRIU's: it can't dump a process that is on its device.
        """
        if self.fake and (found := sum(words[1] == str(pid) for words in self._calls("checkpoint"))) != times:
            raise Failed(f"expected CUDA of process {pid} checkpointed {times} times, got {found}")

    def _calls(self, function: str) -> list[list[str]]:
        with open(f"{self.fake}/script.calls") as calls:
            return [words for line in calls if (words := line.split())[0] == function]


def workload(
    gpus: list[str],
    fake: str,
    name: str,
    program: str,
    *,
    env: dict[str, str] | None = None,
    mounts: list[dict[str, Any]] | None = None,
) -> Workload:
    """A program of workloads/ in a container with the GPUs of these device nodes. `fake`: the fake driver's
    folder, or "".
    """
    if fake:
        devices = [spec.device(path, (195, FAKE_GPUS.index(path))) for path in gpus]
        variables = {"CHECK_FAKE_DRIVER": "/fake/libcuda.so.1"}
        more = [spec.bind(fake, "/fake")]
    else:
        devices = [spec.device(path) for path in spec.nvidia_nodes(gpus)]
        variables = {name: os.environ[name] for name in PASSED_THROUGH if name in os.environ}
        more = []
    python = os.path.realpath(sys.executable) if fake else sys.executable
    return Workload(
        name=name,
        args=[python, f"/check/{program}"],
        devices=devices,
        env={**variables, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
        mounts=[*more, *(mounts or [])],
    )


def fake_script() -> str:
    """Two H100 for all questions; a container could open those assigned to it."""
    gpus = (
        f'gpu {minor} {uuid} {minor} "NVIDIA H100 80GB HBM3" 85520809984 1000000 9.0 -\n'
        for minor, uuid in enumerate(FAKE_UUIDS)
    )
    return "driver 580.159.04\ncuda 13000\nisolated\n" + "".join(gpus)


def build_fake(folder: str) -> dict[str, str]:
    """The fake driver in `folder`; the environment that puts it in the place of the real one."""
    from tests.fake_driver import build

    build.build(folder)
    with open(f"{folder}/script", "w") as script:
        script.write(fake_script())
    paths = [folder, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {"GLOWPLUG_FAKE_DRIVER": f"{folder}/script", "LD_LIBRARY_PATH": os.pathsep.join(paths)}


def gpu_nodes() -> list[str]:
    """Device nodes of this machine's GPUs in NVML's order. Raises Failed when there is none."""
    from glowplug.cuda import facts

    devices = facts.read().devices
    if not devices:
        raise Failed("this machine has no NVIDIA GPU with a driver: see --fake")
    return [f"/dev/nvidia{device.minor}" for device in devices]


def machine(node: Node, criu: str, fake: bool) -> dict[str, Any]:
    """What the figures were measured on."""
    from glowplug.cuda import facts

    found: dict[str, Any] = {
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)),
        "runc": _said(node.runc, "--version"),
        "criu": _said(criu, "--version"),
        "python": platform.python_version(),
        "scratch": shutil.disk_usage(node.state).free,
    }
    if fake:
        return {**found, "gpus": ["the fake driver"]}
    read = facts.read()
    gpus = [f"{device.gpu.product}, {device.gpu.memory_bytes >> 20} MiB" for device in read.devices]
    return {**found, "gpus": gpus, "driver": read.driver, "cuda": read.cuda}


def _said(program: str, option: str) -> str:
    done = subprocess.run([program, option], capture_output=True, text=True, timeout=30)
    return " ".join(done.stdout.split("\n")[0].split())
