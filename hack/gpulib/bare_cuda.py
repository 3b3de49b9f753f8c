"""A container of plain runc that holds CUDA, for measuring: dumped once, then restored by stock parts or ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import Any

from hack.gpulib import spec
from hack.gpulib.pods import SKELETON, WORKLOADS, Failed, Workload
from integration.bare import CGROUP, Bare

from glowplug.checkpoint import bundle
from glowplug.cuda import facts, process_group
from glowplug.cuda.suspend import Suspension
from glowplug.host import process
from glowplug.restore.gpu import Gpu

SANDBOX = f"{os.path.dirname(os.path.abspath(__file__))}/sandbox.py"
LOCK_S, DRIVER_S = 10.0, 180.0
INIT = 1  # the workload's PID in its container: the process that holds CUDA


class BareCuda(Bare):
    """As Bare; `hash` answers what the workload says, `seconds` what each part of the last step took."""

    def __init__(self, scratch: str, workload: Workload) -> None:
        super().__init__(scratch, {})
        self._workload = workload
        self._sandbox: subprocess.Popen[str] | None = None
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> BareCuda:
        super().__enter__()
        for name in SKELETON:
            os.makedirs(f"{self.scratch}/rootfs/{name}", exist_ok=True)
        self._sandbox = subprocess.Popen(
            [sys.executable, SANDBOX], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._sandbox.stdout is not None
        if self._sandbox.stdout.readline() != "ready\n":
            raise Failed("expected namespaces for a container, but they can't be made")
        return self

    def __exit__(self, *left: object) -> None:
        super().__exit__(*left)
        if self._sandbox is not None:
            self._sandbox.kill()
            self._sandbox.communicate(timeout=10)

    def spec(self, annotations: dict[str, str]) -> dict[str, Any]:
        """Its config.json: that of a pod's container, on a directory as its root."""
        assert self._sandbox is not None
        made = spec.spec(
            args=self._workload.args,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", **self._workload.env},
            mounts=[*spec.host_mounts(), spec.bind(WORKLOADS, "/check"), *self._workload.mounts],
            devices=self._workload.devices,
            sandbox_pid=self._sandbox.pid,
            annotations=annotations,
            cgroup=f"{CGROUP}/{self.id}",
            memory_limit=None,
        )
        made["root"]["path"] = f"{self.scratch}/rootfs"
        return made

    def dump_away(self, images: str) -> None:
        """CUDA off its devices, the dump, and the end of the container."""
        self.seconds = {}
        with Suspension() as suspension:
            if not suspension.find(process.tree(self.pid)):
                raise Failed("no process holds CUDA")
            began = time.monotonic()
            suspension.suspend(LOCK_S, DRIVER_S)
            began = self._took("cuda_checkpoint", began)
            self.dump(images)
            self._took("dump", began)
            suspension.forget()
        self.remove()

    def restore_stock(self, images: str) -> float:
        """`runc restore`, then `cuda-checkpoint` (or, without that program, its calls); seconds in all."""
        self.seconds = {}
        began = start = time.monotonic()
        self.restore(images)
        began = self._took("criu", began)
        with process_group.ProcessGroup("program" if shutil.which("cuda-checkpoint") else "auto") as group:
            group.attach([self.pid], [self.pid])
            began = self._took("cuda_attach", began)
            group.restore(DRIVER_S)
            began = self._took("cuda_restore", began)
            group.unlock(LOCK_S)
            self._took("cuda_unlock", began)
        return time.monotonic() - start

    def restore_ours(self, images: str, memory: str) -> float:
        """As the runtime does it, from memory extents; seconds in all."""
        start = time.monotonic()
        back = Gpu([INIT], [device.gpu.uuid for device in facts.read().devices], "")
        try:
            began = time.monotonic()
            self.restore(images, memory, leave_stopped=True)
            took = time.monotonic() - began
            self.seconds = {
                "criu": round(took - self.filled.seconds, 4),
                "memory": round(self.filled.seconds, 4),
            }
            back.bring_back(self.pid, bundle.read(self.spec({})), DRIVER_S)
            self.seconds |= back.seconds
            back.let_run()
        finally:
            back.close()
        return time.monotonic() - start

    def _took(self, part: str, began: float) -> float:
        now = time.monotonic()
        self.seconds[part] = round(now - began, 4)
        return now
