"""Whether GPUs reach containers of our handler in their spec, where a capture and a restore can see them.

Through CDI (the Container Device Interface: specs in files that containerd merges), or with our runtime behind
nvidia-container-runtime in CDI mode. A hook of the legacy kind gives GPUs behind our back (docs/gpu.md).
"""

import os
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from glowplug.errors import HostError
from glowplug.node.doctor import gpu
from glowplug.node.doctor.finding import Finding, ok, warning, wrong
from glowplug.node.doctor.probes import Probes, options
from glowplug.node.doctor.programs import version_numbers

SPEC_DIRS = ("/etc/cdi", "/var/run/cdi")  # containerd's own default
KIND = "nvidia.com/gpu"
ON_SINCE = (2, 0)
"""First containerd that enables CDI by default."""
NVIDIA_CONFIG = "/etc/nvidia-container-runtime/config.toml"
CHAINED = "nvidia-container-runtime"
CDI_MODES = ("cdi", "jit-cdi")
"""Of its modes, those that write GPUs into the spec; `auto` is one of these in newer versions only."""

_GENERATE = "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"


def reach(probes: Probes) -> Finding:
    """HostError: a file that can't be read."""
    if not gpu.present():
        return ok(gpu.NO_GPU)
    handler, config = probes.handler() or {}, probes.cri().config
    chained = chain_config(str(options(handler).get("BinaryName", "")))
    if chained:
        return judge_chain(chained, _toml(chained))
    on = is_on(config.get("enableCDI"), probes.containerd_version())
    directories = [str(one) for one in config.get("cdiSpecDirs") or SPEC_DIRS]
    return judge_specs(on, directories, specs(directories))


def is_on(setting: object, version: str) -> bool:
    """`setting`: enableCDI in CRI's configuration; containerd 1.6 knows none. HostError: no version."""
    return setting is True or (setting is None and version_numbers(version)[:2] >= ON_SINCE)


def judge_specs(on: bool, directories: Iterable[str], devices: Mapping[str, int]) -> Finding:
    """`devices`: file → how many GPUs it describes."""
    found = {file: count for file, count in devices.items() if count}
    if on and found:
        return ok(f"CDI: {max(found.values())} devices in {', '.join(sorted(found))}")
    want = "CDI, or a device plugin that puts nodes and libraries into the spec"
    if not on:
        return warning("CDI is off in containerd", want, "enable_cdi = true in containerd's CRI section")
    return warning(f"CDI is on, no {KIND} in {' and '.join(directories)}", want, _GENERATE)


def chain_config(binary: str) -> str:
    """The configuration with which the handler's program calls nvidia-container-runtime; "" where it does not.

    `glowplug node install` keeps one of its own beside its program (node/chain.py).
    """
    if os.path.basename(binary).startswith(CHAINED):
        return NVIDIA_CONFIG
    from glowplug.containerd.records import RUNTIME  # brings protobuf

    directory, program = os.path.split(binary)
    name = program.removeprefix(f"{RUNTIME}-")
    own = f"{os.path.dirname(directory)}/etc/{name}/{CHAINED}/config.toml"
    return own if name != program and os.path.exists(own) else ""


def judge_chain(path: str, config: Mapping[str, Any]) -> Finding:
    """`config`: of nvidia-container-runtime, which calls the first of its runtimes that is there."""
    section = config.get(CHAINED)
    section = section if isinstance(section, Mapping) else {}
    runtimes, mode = section.get("runtimes"), section.get("mode", "auto")
    first = str(runtimes[0]) if isinstance(runtimes, list) and runtimes else "its own default"
    if os.path.basename(first) != "glowplug-runtime":
        return wrong(f"{CHAINED} calls {first}", "glowplug-runtime first in its `runtimes`", f"edit {path}")
    if mode in CDI_MODES:
        return ok(f"behind {CHAINED}, mode {mode}")
    found = f"behind {CHAINED}, mode {mode}"
    want = "mode cdi: by a hook, GPUs come where no checkpoint sees them, and such pods start cold"
    return warning(found, want, f'mode = "cdi" in {NVIDIA_CONFIG}, then glowplug node install')


def specs(directories: Iterable[str]) -> dict[str, int]:
    """Number of GPUs in each spec file of these directories; a file that is no spec has none."""
    found = {}
    for directory in directories:
        names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
        for name in names:
            if name.endswith((".json", ".yaml")):
                with open(f"{directory}/{name}", errors="replace") as file:
                    found[f"{directory}/{name}"] = gpus_in(file.read())
    return found


def gpus_in(text: str) -> int:
    """Of one spec file (CDI specification: `kind`, `devices`); JSON is read as the YAML that it is."""
    import yaml  # only where there are CDI files

    try:
        spec = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):
        return 0
    devices = spec.get("devices") if isinstance(spec, dict) and spec.get("kind") == KIND else None
    return len(devices) if isinstance(devices, list) else 0


def _toml(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise HostError(f"{path}: {error}") from error
