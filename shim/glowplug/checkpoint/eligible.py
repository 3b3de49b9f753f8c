"""Who may start from a checkpoint at all: tables of rules, each with a slug and a sentence for `explain`.

HOT: the runtime imports this at every create. A rule is (slug, sentence, test); the test is true when the
rule speaks against the container. `RULES` needs config.json alone; `RECORD_RULES` what only containerd's
records say, which the agent asks. An outcome is "cold:" and the slug.

What no table can say: an init or an ephemeral container. The kubelet marks neither in config.json nor in the
CRI labels of today; `RECORD_RULES` refuses both where the agent learned it (the label
io.kubernetes.container.type of some kubelets, or the Kubernetes API). Beyond that: an ephemeral container
that targets another joins its PID namespace, which is refused here; and a checkpoint exists only for
containers that somebody chose to capture, by name or through `glowplug.dev/containers`.
"""

from glowplug.checkpoint.bundle import BundleFacts

RESTORE = "glowplug.dev/restore"
CONTAINERS = "glowplug.dev/containers"
SNAPSHOTTER = "overlayfs"

_RESTORE_VALUES = ("", "on", "off", "observe")
COMPILE_CACHE = "glowplug.dev/compile-cache"
_NO_COMPILE_CACHE = (
    "sandbox",
    "not-cri",
    "bad-annotation",
    "not-selected",
    "user-namespace",
    "joined-namespace",
)
_HOOKS_THAT_RUN = ("prestart", "createRuntime", "poststop")
_NVIDIA_LEGACY_HOOKS = ("nvidia-container-runtime-hook", "nvidia-container-toolkit")
_LAYER_HOOK_PROGRAMS = ("nvidia-cdi-hook", "nvidia-ctk")
_LAYER_HOOK_WORK = (
    "chmod",
    "create-symlinks",
    "create-soname-symlinks",
    "disable-device-node-modification",
    "enable-cuda-compat",
    "update-application-profile",
    "update-ldcache",
)


def ineligible(facts: BundleFacts) -> list[tuple[str, str]]:
    """Every (slug, sentence) that speaks against this container, in the table's order; empty: eligible."""
    return [(slug, sentence) for slug, sentence, speaks_against in RULES if speaks_against(facts)]


def may_use_compile_cache(facts: BundleFacts, against: list[tuple[str, str]]) -> bool:
    """Whether a container that is not restored may find its compile caches, where its pod asks for that (an annotation
    `glowplug.dev/compile-cache`): not where nobody can say whose it is, or its files have other owners than here.
    """
    asks = any(name.startswith(COMPILE_CACHE) for name in facts.annotations)
    return asks and not any(slug in _NO_COMPILE_CACHE for slug, _ in against)


def _is_turned_off(facts: BundleFacts) -> bool:
    return facts.annotations.get(RESTORE, "") == "off"


def _is_mistyped(facts: BundleFacts) -> bool:
    return facts.annotations.get(RESTORE, "") not in _RESTORE_VALUES


def requested_containers(facts: BundleFacts) -> list[str]:
    """The containers that the pod names, by `CONTAINERS`; none: all."""
    return facts.annotations.get(CONTAINERS, "").replace(",", " ").split()


def _is_not_selected(facts: BundleFacts) -> bool:
    names = requested_containers(facts)
    return bool(names) and facts.container_name not in names


def _has_host_mode(facts: BundleFacts, *types: str) -> bool:
    return any(type not in facts.namespaces for type in types)


def _has_lost_hooks(facts: BundleFacts) -> bool:
    lost = (hook for stage, hooks in facts.hooks.items() if stage not in _HOOKS_THAT_RUN for hook in hooks)
    return any(not _writes_the_layer(hook) for hook in lost)


def _writes_the_layer(hook: dict[str, object]) -> bool:
    """Whether all that the hook does is in the container's files, which come back with the checkpoint.

    disable-device-node-modification mounts a file over one of /proc: kept and made again (capture/hook_mounts.py).
    """
    args = hook.get("args")
    return (
        _program(hook) in _LAYER_HOOK_PROGRAMS
        and isinstance(args, list)
        and any(word in _LAYER_HOOK_WORK for word in args[1:3])
    )


def _program(hook: dict[str, object]) -> str:
    return str(hook.get("path", "")).rpartition("/")[2]


def _is_mounted_by_hook(facts: BundleFacts) -> bool:
    return any(_program(hook) in _NVIDIA_LEGACY_HOOKS for hooks in facts.hooks.values() for hook in hooks)


RULES = (
    ("sandbox", "the pod's sandbox is never restored", lambda f: f.container_type == "sandbox"),
    (
        "not-cri",
        "the container was not made through Kubernetes' CRI, so its pod and namespace are unknown",
        lambda f: (
            f.container_type not in ("sandbox", "container")
            or not (f.sandbox_id and f.sandbox_namespace and f.container_name)
        ),
    ),
    ("off", f"the pod turned restores off ({RESTORE}: off)", _is_turned_off),
    ("bad-annotation", f"{RESTORE} is none of on, off, observe", _is_mistyped),
    ("not-selected", f"{CONTAINERS} names other containers of the pod", _is_not_selected),
    ("no-args", "the container has no command", lambda f: not f.args),
    ("terminal", "the container has a terminal (tty: true), whose other end is gone", lambda f: f.terminal),
    (
        "shared-pid",
        "the PID namespace is shared with the pod, another container or the host; the pids may be taken",
        lambda f: bool(f.namespaces.get("pid")) or _has_host_mode(f, "pid"),
    ),
    (
        "user-namespace",
        "the container has a user namespace, which CRIU can't restore into",
        lambda f: "user" in f.namespaces or bool(f.uid_mappings or f.gid_mappings),
    ),
    (
        "host-network",
        "the container is in the host's network, where its ports may be taken",
        lambda f: _has_host_mode(f, "network"),
    ),
    (
        "host-namespace",
        "the container shares the host's mount, IPC or UTS namespace",
        lambda f: _has_host_mode(f, "mount", "ipc", "uts"),
    ),
    (
        "joined-namespace",
        "the container joins a mount or cgroup namespace, or has a time namespace: not restorable",
        lambda f: bool(f.namespaces.get("mount") or f.namespaces.get("cgroup")) or "time" in f.namespaces,
    ),
    (
        "seccomp-notify",
        "a seccomp profile hands system calls to a listener, which would be gone after a restore",
        lambda f: f.seccomp is not None and '"listenerPath":"' in f.seccomp,
    ),
    (
        "nvidia-hook",
        "NVIDIA's libraries are mounted by a hook and are in no spec; give the GPU through CDI instead",
        _is_mounted_by_hook,
    ),
    (
        "hooks",
        "hooks of a stage that runc does not run at a restore (createContainer, startContainer, poststart)",
        _has_lost_hooks,
    ),
)


class RecordFacts:
    """What only containerd's records or the Kubernetes API say. None: not known."""

    __slots__ = ("host_ipc", "host_network", "kind", "snapshotter")

    def __init__(
        self,
        snapshotter: str | None = None,
        host_network: bool | None = None,
        host_ipc: bool | None = None,
        kind: str | None = None,
    ) -> None:
        self.snapshotter = snapshotter  # containers.v1 Container.snapshotter
        self.host_network = host_network  # the pod's network namespace is the node's own
        self.host_ipc = host_ipc  # so is its IPC namespace
        self.kind = kind  # "regular", "init", "ephemeral"; see kind_by_labels


def kind_by_labels(labels: dict[str, str]) -> str | None:
    """The container's kind, where a kubelet marks it (label io.kubernetes.container.type); else None."""
    return _KINDS.get(labels.get("io.kubernetes.container.type", "").upper())


_KINDS = {"REGULAR": "regular", "INIT": "init", "EPHEMERAL": "ephemeral", "DEBUG": "ephemeral"}


def ineligible_record(record: RecordFacts) -> list[tuple[str, str]]:
    """As `ineligible`, from the agent's records.

    An unknown snapshotter, network or IPC namespace speaks against the container; an unknown kind does not, because
    today's kubelets do not say (see the top of this file).
    """
    return [(slug, sentence) for slug, sentence, speaks_against in RECORD_RULES if speaks_against(record)]


RECORD_RULES = (
    (
        "snapshotter",
        f"the container's files are not kept by the snapshotter {SNAPSHOTTER}",
        lambda r: r.snapshotter != SNAPSHOTTER,
    ),
    (
        "host-network",
        "the pod is in the host's network, where its ports may be taken (or it can't be known)",
        lambda r: r.host_network is not False,
    ),
    (
        "host-namespace",
        "the pod is in the host's IPC namespace, whose memory is not its own (or it can't be known)",
        lambda r: r.host_ipc is not False,
    ),
    ("init-container", "an init container runs to its end and is not restored", lambda r: r.kind == "init"),
    ("ephemeral-container", "an ephemeral container is not restored", lambda r: r.kind == "ephemeral"),
)
