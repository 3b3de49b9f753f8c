"""containerd: answers, is ready, and has our handler as it must be. All of it as CRI says."""

import os
from collections.abc import Mapping
from typing import Any

from glowplug.errors import ContainerdError
from glowplug.node.doctor.finding import Finding, ok, warning, wrong
from glowplug.node.doctor.probes import HANDLER, Probes, handlers, options
from glowplug.node.doctor.programs import version_numbers

OLDEST = (1, 6)
SHIM = "io.containerd.runc.v2"
ANNOTATIONS = "glowplug.dev/*"
RUNC_ROOT = "/run/containerd/runc"
"""What the shim gives runc as --root where the handler names none."""

INSTALL = "glowplug node install"
_START = "systemctl start containerd, or set `containerd_socket` in the configuration"


def version(probes: Probes) -> Finding:
    """containerd's version."""
    try:
        return judge_version(probes.containerd_version())
    except ContainerdError as error:
        return wrong(str(error), "a containerd that answers", _START)


def judge_version(text: str) -> Finding:
    """`text`: as containerd says it. HostError where it has no numbers."""
    if version_numbers(text)[:2] >= OLDEST:
        return ok(text)
    return wrong(text, "containerd 1.6 or newer", "install a newer containerd")


def ready(probes: Probes) -> Finding:
    """CRI's conditions."""
    return judge_ready(probes.cri().conditions)


def judge_ready(conditions: Mapping[str, bool]) -> Finding:
    """`conditions`: of CRI's Status; those that are not listed here are advice (deprecated settings, say)."""
    missing = [name for name in ("RuntimeReady", "NetworkReady") if not conditions.get(name)]
    if not missing:
        return ok("runtime and network are ready")
    return wrong(f"not {' and not '.join(missing)}", "both", "install a CNI plugin; see containerd's log")


def handler(probes: Probes) -> Finding:
    """The handler in the running containerd, and its program."""
    found = probes.handler()
    return judge_handler(found, os.access(str(options(found or {}).get("BinaryName", "")), os.X_OK))


def judge_handler(handler: Mapping[str, Any] | None, is_there: bool) -> Finding:
    """`is_there`: whether its BinaryName is a program that can be run."""
    if handler is None:
        return wrong(f"none called {HANDLER}", f"a handler {HANDLER}", INSTALL)
    kind, binary = handler.get("runtimeType"), options(handler).get("BinaryName")
    if kind != SHIM:
        return wrong(f"runtime_type is {kind}", SHIM, INSTALL)
    if not binary or not is_there:
        return wrong(f"BinaryName is {binary or 'not set'}", "a program that can be run", INSTALL)
    return ok(str(binary))


def annotations(probes: Probes) -> Finding:
    """Whether the handler passes a pod's annotations on."""
    return judge_annotations(probes.handler() or {})


def judge_annotations(handler: Mapping[str, Any]) -> Finding:
    """Without them in the spec, no pod can say what it wants."""
    missing = [
        name
        for name in ("PodAnnotations", "ContainerAnnotations")
        if ANNOTATIONS not in (handler.get(name) or ())
    ]
    if not missing:
        return ok(f"{ANNOTATIONS} are passed through")
    want = f"{ANNOTATIONS} there, for what pods wish (glowplug.dev/capture, …)"
    return warning(f"not in {' and '.join(missing)}", want, INSTALL)


def runc_root(probes: Probes) -> Finding:
    """Whether runc's state root is the configured one."""
    return judge_runc_root(probes.handler() or {}, probes.config.runc_root)


def judge_runc_root(handler: Mapping[str, Any], configured: str) -> Finding:
    """The agent looks for containers where the shim has runc keep them."""
    used = str(options(handler).get("Root") or RUNC_ROOT)
    if os.path.normpath(used) == os.path.normpath(configured):
        return ok(used)
    return wrong(
        f"{used}; the configuration says {configured}", "one and the same", f'set runc_root = "{used}"'
    )


def snapshotter(probes: Probes) -> Finding:
    """Whether the handler's snapshotter is overlayfs."""
    return judge_snapshotter(probes.handler() or {}, probes.cri().config)


def judge_snapshotter(handler: Mapping[str, Any], config: Mapping[str, Any]) -> Finding:
    """Of the handler, else CRI's; containerd 2.x keeps CRI's in the configuration of images, which CRI hides."""
    plugin = config.get("containerd")
    used = handler.get("snapshotter") or (plugin.get("snapshotter") if isinstance(plugin, Mapping) else None)
    if not used or used == "overlayfs":
        return ok(used or "containerd's own choice")
    return wrong(
        str(used), "overlayfs: others have no layer that can be carried", "set snapshotter to overlayfs"
    )


def cgroup_driver(probes: Probes) -> Finding:
    """Whether the handler's cgroup driver is that of runc's own handler."""
    config = probes.cri().config
    return judge_cgroup_driver(probes.handler() or {}, handlers(config).get("runc"))


def judge_cgroup_driver(handler: Mapping[str, Any], stock: Mapping[str, Any] | None) -> Finding:
    """The kubelet has one cgroup driver for all pods: so must the handlers."""
    ours = bool(options(handler).get("SystemdCgroup"))
    if stock is None or bool(options(stock).get("SystemdCgroup")) == ours:
        return ok("systemd" if ours else "cgroupfs")
    text = f"SystemdCgroup is {str(ours).lower()}, and {str(not ours).lower()} in the handler runc"
    return wrong(text, "the same in both", INSTALL)
