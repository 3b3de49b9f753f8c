"""Builds the fake driver with gcc."""

from __future__ import annotations

import os
import subprocess

_HERE = os.path.dirname(os.path.abspath(__file__))
_FLAGS = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"]


def build(folder: str) -> None:
    """Puts libcuda.so.1, libnvidia-ml.so.1, cuda-checkpoint and target into `folder`. Raises
    CalledProcessError.
    """
    for soname, source in (("libcuda.so.1", "libcuda.c"), ("libnvidia-ml.so.1", "libnvidia_ml.c")):
        _gcc(
            "-shared",
            "-fPIC",
            "-pthread",
            f"-Wl,-soname,{soname}",
            "-o",
            f"{folder}/{soname}",
            source,
            "script.c",
        )
    _gcc("-pthread", "-o", f"{folder}/cuda-checkpoint", "cuda_checkpoint.c", "libcuda.c", "script.c")
    _gcc("-pthread", "-o", f"{folder}/target", "target.c", f"{folder}/libcuda.so.1", f"-Wl,-rpath,{folder}")


def _gcc(*arguments: str) -> None:
    subprocess.run(["gcc", *_FLAGS, *arguments], cwd=_HERE, check=True, timeout=120)
