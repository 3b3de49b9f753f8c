"""NVIDIA GPUs: whether there are any, their driver, NVML, and the checkpoint functions, really called.

A node without a GPU restores what needs none: every check here says so, and is content.
"""

import glob
import os

from glowplug import known_errors
from glowplug.cuda import trial
from glowplug.cuda.facts import Node
from glowplug.errors import CudaError
from glowplug.node.doctor.finding import Finding, ok, warning, wrong
from glowplug.node.doctor.probes import Probes
from glowplug.node.doctor.programs import version_numbers

NO_GPU = "no GPU here"
OLDEST = (570,)
"""First driver whose libcuda has the checkpoint functions."""
MAPS = (580,)
"""First driver that restores on another GPU than the captured one."""

_NVIDIA = "0x10de\n"
_DISPLAY_CLASSES = ("0x0300", "0x0302")  # VGA and 3D controllers (PCI code and ID assignment)
_UPDATE = "install NVIDIA driver 580 or newer"


def present() -> bool:
    """Whether a GPU of NVIDIA's is on a bus of this node, or its driver is loaded."""
    return os.path.exists("/sys/module/nvidia/version") or any(
        _is_gpu(device) for device in glob.glob("/sys/bus/pci/devices/*")
    )


def _is_gpu(device: str) -> bool:
    try:
        with open(f"{device}/vendor") as vendor, open(f"{device}/class") as kind:
            return vendor.read() == _NVIDIA and kind.read().startswith(_DISPLAY_CLASSES)
    except OSError:
        return False  # it was pulled meanwhile


def driver(_: Probes) -> Finding:
    """The NVIDIA driver's version."""
    try:
        with open("/sys/module/nvidia/version") as file:
            return judge_driver(present(), file.read().strip())
    except FileNotFoundError:
        return judge_driver(present(), "")


def judge_driver(there: bool, version: str) -> Finding:
    """`version`: of the kernel module, "580.159.04"; "" where it is not loaded. HostError: no version at all."""
    if not there:
        return ok(NO_GPU)
    if not version:
        return wrong("a GPU, and no NVIDIA driver loaded", "driver 570 or newer", _UPDATE)
    found = version_numbers(version)
    if found < OLDEST:
        return wrong(version, "570 or newer, for CUDA's checkpoint functions", _UPDATE)
    if found < MAPS:
        return warning(version, "580 or newer, to restore on another GPU than the captured one", _UPDATE)
    return ok(version)


def nvml(probes: Probes) -> Finding:
    """HostError: NVML is there and can't answer."""
    return judge_nvml(probes.gpus()) if present() else ok(NO_GPU)


def judge_nvml(node: Node) -> Finding:
    """`node`: as NVML shows it, on a node that has a GPU."""
    if not node.devices:
        return wrong("NVML names no GPU", "libnvidia-ml.so.1 of the loaded driver", _UPDATE)
    names = sorted({device.gpu.product for device in node.devices})
    text = f"{len(node.devices)}: {', '.join(names)}"
    split = [str(device.index) for device in node.devices if device.gpu.mig]
    if split:
        return warning(
            f"{text}; MIG is on for {', '.join(split)}",
            "no MIG: such GPUs are not captured",
            "nvidia-smi -mig 0",
        )
    return ok(text)


def checkpoints(_: Probes) -> Finding:
    """A process of our own is taken off a GPU and brought back."""
    if not present():
        return ok(NO_GPU)
    try:
        return judge_trial(trial.run())
    except trial.NoContext as error:
        return warning(
            f"unknown: {error}", "free memory on one GPU for a try", "try again when a GPU is free"
        )
    except CudaError as error:
        known = known_errors.driver_entry(str(error))
        fix = known.do if known else _UPDATE
        return wrong(str(error), "lock, checkpoint, restore and unlock of a process to work", fix)


def judge_trial(found: trial.Trial) -> Finding:
    """`found`: a CUDA process that was checkpointed and restored."""
    return ok(f"there and back in {found.seconds:.2f} s, by the {found.engine}")
