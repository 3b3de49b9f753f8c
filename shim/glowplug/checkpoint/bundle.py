"""What an OCI bundle's config.json says, read once into plain attributes (OCI runtime spec 1.2, "config.md").

HOT: the runtime imports this at every create. No dataclasses, no typing, no pathlib.

`FIELDS` names every fact and where it stands. A field of the spec that is neither there nor in `IGNORED` is
kept in `BundleFacts.other`, which counts in the workload key as it is: nothing that this file has not heard
of is ever skipped. Go writes an empty field as absent or null, so both read as the fact's empty value.
"""

from glowplug.checkpoint import oci

OWN_ANNOTATIONS = "glowplug.dev/"


class BundleFacts:
    """The facts of one bundle. Sizes in bytes, CPU times in microseconds; None where the spec is silent."""

    annotations: dict[str, str]  # those of glowplug.dev/ only
    apparmor: str
    args: tuple[str, ...]
    capabilities: dict[str, tuple[str, ...]]  # set's name → capabilities, sorted
    cgroups_path: str
    container_name: str
    container_type: str  # "sandbox", "container", or "" outside CRI
    cpu_period: int | None
    cpu_quota: int | None
    cpuset_cpus: str  # "0-3,8"; "" when it may use any
    cpuset_mems: str
    cwd: str
    devices: tuple[oci.Device, ...]
    env: tuple[str, ...]  # NAME=VALUE; holds secrets: never shown
    gid: int
    gid_mappings: str  # canonical JSON; "" when there are none
    gids: tuple[int, ...]  # additional groups, sorted
    hooks: dict[str, tuple[dict[str, object], ...]]  # stage → its hooks
    hostname: str
    image_name: str  # informative: a tag, never an identity
    masked_paths: tuple[str, ...]
    memory_limit: int | None
    mounts: tuple[oci.Mount, ...]
    namespaces: dict[str, str]  # type → path to join, "" for a new one
    no_new_privileges: bool
    oom_score_adj: int | None
    pids_limit: int | None
    other: dict[str, str]  # dotted path → canonical JSON of fields that this file has not heard of
    readonly_paths: tuple[str, ...]
    rlimits: dict[str, tuple[int, int]]  # type → soft, hard
    rootfs: str
    rootfs_propagation: str
    rootfs_readonly: bool
    sandbox_id: str
    sandbox_name: str
    sandbox_namespace: str
    sandbox_uid: str
    seccomp: str | None  # canonical JSON; None when the process runs without
    selinux: str
    sysctl: dict[str, str]
    terminal: bool
    uid: int
    uid_mappings: str
    umask: int | None

    @property
    def container_id(self) -> str:
        """The container's id: CRI ends the cgroup's path with it, "…/ID" or "SLICE:cri-containerd:ID"."""
        return self.cgroups_path.replace(":", "/").rpartition("/")[2]


def read(spec: object) -> BundleFacts:
    """The facts of a parsed config.json. Raises `oci.BundleError`, with the field, when it is none."""
    if not isinstance(spec, dict):
        raise oci.wrong("config.json", "an object", spec)
    facts = BundleFacts()
    for attribute, path, reader in FIELDS:
        setattr(facts, attribute, reader(".".join(path), _at(spec, path)))
    facts.annotations = _own_annotations(spec)
    facts.other = _unheard_of(spec)
    return facts


def _at(spec: oci.Spec, path: tuple[str, ...]) -> object:
    node: object = spec
    for depth, name in enumerate(path):
        if node is None:
            return None
        if not isinstance(node, dict):
            raise oci.wrong(".".join(path[:depth]), "an object", node)
        node = node.get(name)
    return node


FIELDS = (
    ("args", ("process", "args"), oci.texts),
    ("env", ("process", "env"), oci.texts),
    ("cwd", ("process", "cwd"), oci.text),
    ("terminal", ("process", "terminal"), oci.flag),
    ("uid", ("process", "user", "uid"), oci.number_or_zero),
    ("gid", ("process", "user", "gid"), oci.number_or_zero),
    ("gids", ("process", "user", "additionalGids"), oci.sorted_numbers),
    ("umask", ("process", "user", "umask"), oci.number_or_none),
    ("capabilities", ("process", "capabilities"), oci.capabilities),
    ("no_new_privileges", ("process", "noNewPrivileges"), oci.flag),
    ("apparmor", ("process", "apparmorProfile"), oci.text),
    ("selinux", ("process", "selinuxLabel"), oci.text),
    ("rlimits", ("process", "rlimits"), oci.rlimits),
    ("oom_score_adj", ("process", "oomScoreAdj"), oci.number_or_none),
    ("rootfs", ("root", "path"), oci.text),
    ("rootfs_readonly", ("root", "readonly"), oci.flag),
    ("rootfs_propagation", ("linux", "rootfsPropagation"), oci.text),
    ("hostname", ("hostname",), oci.text),
    ("mounts", ("mounts",), oci.mounts),
    ("hooks", ("hooks",), oci.hooks),
    ("devices", ("linux", "devices"), oci.devices),
    ("namespaces", ("linux", "namespaces"), oci.namespaces),
    ("uid_mappings", ("linux", "uidMappings"), oci.mappings),
    ("gid_mappings", ("linux", "gidMappings"), oci.mappings),
    ("cgroups_path", ("linux", "cgroupsPath"), oci.text),
    ("sysctl", ("linux", "sysctl"), oci.text_table),
    ("seccomp", ("linux", "seccomp"), oci.seccomp),
    ("masked_paths", ("linux", "maskedPaths"), oci.sorted_texts),
    ("readonly_paths", ("linux", "readonlyPaths"), oci.sorted_texts),
    ("memory_limit", ("linux", "resources", "memory", "limit"), oci.number_or_none),
    ("cpu_quota", ("linux", "resources", "cpu", "quota"), oci.number_or_none),
    ("cpu_period", ("linux", "resources", "cpu", "period"), oci.number_or_none),
    ("cpuset_cpus", ("linux", "resources", "cpu", "cpus"), oci.text),
    ("cpuset_mems", ("linux", "resources", "cpu", "mems"), oci.text),
    ("pids_limit", ("linux", "resources", "pids", "limit"), oci.number_or_none),
    ("container_type", ("annotations", "io.kubernetes.cri.container-type"), oci.text),
    ("sandbox_id", ("annotations", "io.kubernetes.cri.sandbox-id"), oci.text),
    ("sandbox_name", ("annotations", "io.kubernetes.cri.sandbox-name"), oci.text),
    ("sandbox_namespace", ("annotations", "io.kubernetes.cri.sandbox-namespace"), oci.text),
    ("sandbox_uid", ("annotations", "io.kubernetes.cri.sandbox-uid"), oci.text),
    ("container_name", ("annotations", "io.kubernetes.cri.container-name"), oci.text),
    ("image_name", ("annotations", "io.kubernetes.cri.image-name"), oci.text),
)

IGNORED = {
    "ociVersion": "the format's version says nothing about the process",
    "annotations": "labels for others; those of glowplug.dev/ are read one by one",
    "linux.resources": "limits of the cgroup, which is the new pod's; `requirements` compares them",
    "linux.intelRdt": "the cgroup's share of the cache, which is the new pod's",
    "linux.mountLabel": "labels files by pod; the process's own type is read from process.selinuxLabel",
    "process.consoleSize": "only with a terminal, which is not eligible",
}


def _own_annotations(spec: oci.Spec) -> dict[str, str]:
    return {
        name: oci.text(f"annotations.{name}", value)
        for name, value in oci.table("annotations", spec.get("annotations")).items()
        if name.startswith(OWN_ANNOTATIONS)
    }


_LEAVES = frozenset(".".join(path) for _, path, _ in FIELDS)
_BRANCHES = frozenset(".".join(path[:depth]) for _, path, _ in FIELDS for depth in range(1, len(path)))


def _unheard_of(spec: dict[str, object], above: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in spec.items():
        path = above + name
        if value is None or path in _LEAVES or path in IGNORED:
            continue
        if path in _BRANCHES and isinstance(value, dict):
            found.update(_unheard_of(value, path + "."))
        else:
            found[path] = oci.canonical(value)
    return found
