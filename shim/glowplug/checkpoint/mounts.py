"""What each mount of a container is to its checkpoint: carried, identity, noise, or unknown.

    carried    its content travels with the checkpoint (image VOLUMEs, /dev/shm, emptyDir, tmpfs)
    identity   it makes the workload what it is; equal in the key by source, by name, or by content
    noise      made again for each pod and kept by no process (hosts, hostname, resolv.conf, …)
    unknown    none of these by any rule: no key, no match

A rule looks at the entire shape of the source path with the pod's own uid, sandbox id, container id and name
in it, and at the destination where that is fixed: never at a file name alone. The kubelet's and containerd's
roots may be anywhere. Answers that need I/O are listed by `mount_questions` and passed to the key.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from glowplug.checkpoint.bundle import OWN_ANNOTATIONS, BundleFacts
from glowplug.checkpoint.oci import Mount

VOLUMES = OWN_ANNOTATIONS + "volumes"
STATELESS = "stateless"

CARRIED = "carried"
IDENTITY = "identity"
NOISE = "noise"
UNKNOWN = "unknown"

CONTENT = "content"  # a digest of the files below the source: `content.digest`
BACKING = "backing"  # what is mounted at the source: "FSTYPE DEVICE ROOT" of /proc/self/mountinfo
CONTENT_OR_BACKING = "content-or-backing"  # content up to `content.LIMIT` bytes, else backing
VOLUME = (
    "volume"  # a CSI volume: driver and handle of a persistent one, content of one made for its pod alone
)
SERVICE_ACCOUNT = "service-account-token"  # the account's name; the token itself rotates
EMPTY_DIR = "empty-dir"  # of one that travels: whether others had filled it before the start, and with what
STATE = "state"  # of one that can be written to: a token that changes where something is
QUESTIONS = (CONTENT, BACKING, CONTENT_OR_BACKING, VOLUME, SERVICE_ACCOUNT)

_KUBELET = r"/.+/pods/{uid}/"
_VOLUME = _KUBELET + r"volumes/kubernetes\.io~"
_TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount"
_NETWORK_VOLUMES = (
    "azure-disk|azure-file|cephfs|fc|glusterfs|iscsi|local-volume|nfs|portworx-volume|rbd|vsphere-volume"
)

# kind, how, source, destination ("" for any); the group `value` names an identity, or of a question a part of it
SHAPES = (
    (NOISE, "hosts", _KUBELET + r"etc-hosts", "/etc/hosts"),
    (NOISE, "termination-log", _KUBELET + r"containers/{name}/[0-9a-f]+", ""),
    (IDENTITY, SERVICE_ACCOUNT, _VOLUME + r"projected/kube-api-access-[a-z0-9]{{5}}", _TOKENS),
    (IDENTITY, CONTENT, _VOLUME + r"(configmap|downward-api|projected|secret)/[^/]+", ""),
    (IDENTITY, CONTENT_OR_BACKING, _KUBELET + r"volume-subpaths/[^/]+/{name}/[0-9]+", ""),
    (IDENTITY, VOLUME, _VOLUME + r"csi/(?P<value>[^/]+)/mount", ""),
    (IDENTITY, BACKING, _VOLUME + rf"({_NETWORK_VOLUMES})/(?P<value>[^/]+)", ""),
    (CARRIED, EMPTY_DIR, _VOLUME + r"empty-dir/[^/]+", ""),
    (NOISE, "hostname", r"/.+/sandboxes/{sandbox}/hostname", "/etc/hostname"),
    (NOISE, "hosts", r"/.+/sandboxes/{sandbox}/hosts", "/etc/hosts"),
    (NOISE, "resolv.conf", r"/.+/sandboxes/{sandbox}/resolv\.conf", "/etc/resolv.conf"),
    (CARRIED, "shm", r"/.+/sandboxes/{sandbox}/shm", "/dev/shm"),
    (CARRIED, "image-volume", r"/.+/containers/{container}/volumes/[0-9a-f]+", ""),
    (IDENTITY, "image", r"/.+/image-volumes/{sandbox}/(?P<value>.+)", ""),
)

_WITH_STATE = (BACKING, CONTENT_OR_BACKING, VOLUME, "source")
_OWN = ("uid", "sandbox", "container", "name")


def _pattern(source: str) -> "re.Pattern[str]":
    """For the source path with the pod's own identifiers behind it, a NUL before each: one pattern serves every pod.

    An identifier that is not known is empty there, and fits nothing.
    """
    path = source.format(**{name: rf"(?P<{name}>[^/\0]+)" for name in _OWN})
    behind = (rf"\0(?P={name})" if f"{{{name}}}" in source else r"\0[^\0]*" for name in _OWN)
    return re.compile(path + "".join(behind))


_PATTERNS = tuple(_pattern(source) for _, _, source, _ in SHAPES)

# A mount that is no bind: type → kind, how.
FILE_SYSTEMS = {
    "cgroup": (IDENTITY, "kernel"),
    "cgroup2": (IDENTITY, "kernel"),
    "devpts": (IDENTITY, "kernel"),
    "mqueue": (IDENTITY, "kernel"),
    "proc": (IDENTITY, "kernel"),
    "sysfs": (IDENTITY, "kernel"),
    "tmpfs": (CARRIED, "tmpfs"),
}


@dataclass(frozen=True, slots=True)
class Classified:
    """One mount with its kind. `value`: what the spec says of its identity; None: nothing, or there is none."""

    destination: str
    source: str
    kind: str
    how: str
    value: str | None
    options: tuple[str, ...]

    @property
    def is_question(self) -> bool:
        """Whether the identity is in the answer to a question, and `value` at most a name of it."""
        return self.kind == IDENTITY and self.how in QUESTIONS


def classify(facts: BundleFacts) -> tuple[Classified, ...]:
    """Every mount, in the spec's order."""
    return tuple(_classified(mount, facts) for mount in facts.mounts)


def shared_memory(facts: BundleFacts) -> str:
    """The directory on the host of the pod's own /dev/shm, the tmpfs of its sandbox; "" where there is none.

    A volume that is mounted there instead is a volume like any other.
    """
    return next((found.source for found in classify(facts) if found.how == "shm"), "")


def mount_questions(facts: BundleFacts) -> list[tuple[str, str, str]]:
    """What the caller has to read before a key can be made: (destination, source on the host, how).

    `how` is one of QUESTIONS. The answers go to `workload_key` as {destination: text}; None or no entry means
    that it could not be read, and then there is no key.
    """
    return [(found.destination, found.source, found.how) for found in classify(facts) if found.is_question]


def filling_questions(facts: BundleFacts) -> list[tuple[str, str]]:
    """The emptyDirs, which others may have filled: (destination, source on the host) (rule 4.10)."""
    return [(found.destination, found.source) for found in classify(facts) if found.how == EMPTY_DIR]


def state_questions(facts: BundleFacts) -> list[tuple[str, str]]:
    """The volumes that do not travel and can be written to: (destination, source on the host) (rule 4.4).

    None where the owner of the pod says that the process keeps nothing in them.
    """
    if facts.annotations.get(VOLUMES) == STATELESS:
        return []
    return [
        (found.destination, found.source)
        for found in classify(facts)
        if found.kind == IDENTITY and found.how in _WITH_STATE and "ro" not in found.options
    ]


def as_found(
    facts: BundleFacts, filled: Collection[str], travelling: Collection[str]
) -> tuple[Classified, ...]:
    """Every mount with what was found out about its files.

    `filled`: emptyDirs, by destination, that are what others put into them, as an identity is. `travelling`: subPaths
    of an emptyDir, which travel as it does (rule 4.9).
    """
    return tuple(
        replace(found, kind=IDENTITY)
        if found.destination in filled
        else replace(found, kind=CARRIED, how=EMPTY_DIR)
        if found.destination in travelling
        else found
        for found in classify(facts)
    )


def written_identities(paths: Iterable[str], mounts: Iterable[Classified]) -> list[tuple[str, str]]:
    """Of paths open for writing, as the container sees them: those on an identity mount, each with its mount.

    Such a file refuses the capture: its content is not in the checkpoint, and another container may have
    changed it by the time of a restore (rule 4.3).
    """
    checked = [found for found in mounts if not (found.kind == IDENTITY and found.how == "kernel")]
    holders = ((path, _holder(path, checked)) for path in paths)
    return [
        (path, found.destination) for path, found in holders if found and found.kind in (IDENTITY, UNKNOWN)
    ]


def cuda_libraries(facts: BundleFacts) -> tuple[str, ...]:
    """NVIDIA's libraries that are mounted into the container, by the file names of their sources, sorted."""
    names = {mount.source.rpartition("/")[2] for mount in facts.mounts if mount.is_bind}
    return tuple(sorted(name for name in names if _CUDA_LIBRARY.match(name)))


_CUDA_LIBRARY = re.compile(r"lib(cuda|cudadebugger|nvcuvid|nvidia-.+|nvoptix|vdpau_nvidia)\.so(\.|$)")


def _holder(path: str, mounts: list[Classified]) -> Classified | None:
    above = [found for found in mounts if (path + "/").startswith(found.destination.rstrip("/") + "/")]
    return max(above, key=lambda found: len(found.destination), default=None)


def _classified(mount: Mount, facts: BundleFacts) -> Classified:
    kind, how, value = _kind(mount, facts)
    return Classified(mount.destination, mount.source, kind, how, value, _options(mount))


def _kind(mount: Mount, facts: BundleFacts) -> tuple[str, str, str | None]:
    if not mount.is_bind:
        kind, how = FILE_SYSTEMS.get(mount.type, (UNKNOWN, "file-system"))
        return kind, how, mount.type
    own = (facts.sandbox_uid, facts.sandbox_id, facts.container_id, facts.container_name)
    path = "\0".join((mount.source, *own))
    for (kind, how, _, destination), pattern in zip(SHAPES, _PATTERNS, strict=True):
        found = pattern.fullmatch(path)
        if found and destination in ("", mount.destination):
            return kind, how, found.groupdict().get("value")
    if not mount.source.startswith("/") or _is_of_one_pod(mount.source, facts):
        return UNKNOWN, "source", None
    return IDENTITY, "source", mount.source


def _is_of_one_pod(source: str, facts: BundleFacts) -> bool:
    """Whether the path was made for one pod only, so that it says nothing about another pod's."""
    steps = source.split("/")
    own = (facts.sandbox_uid, facts.sandbox_id, facts.container_id)
    return any(name and name in steps for name in own) or "/volumes/kubernetes.io~" in source


def _options(mount: Mount) -> tuple[str, ...]:
    """The options without SELinux contexts, which contain the pod's own category; the order is the kernel's."""
    kept = {option for option in mount.options if not option.startswith(("context=", "rootcontext="))}
    return tuple(sorted(kept | ({mount.extra} - {""})))
