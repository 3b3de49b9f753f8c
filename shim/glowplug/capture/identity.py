"""What a container is: asked by a capture of one that runs, and by the agent for one that is being created.

Both must come to the same answer by the same way, so there is one. Reads containerd and the files that the
container's mounts bring; decides nothing (that is the core's).
"""

import json
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from glowplug.checkpoint import bundle as bundles
from glowplug.checkpoint import content, key, mounts, noise
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.eligible import RecordFacts, ineligible, ineligible_record, kind_by_labels
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.containerd.rpc import NotFound
from glowplug.errors import ContainerdError
from glowplug.layer import mountinfo
from glowplug.podnet import addresses

log = logging.getLogger("glowplug.agent")

_NONE: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Identity:
    """`against`: every (slug, sentence) of the rules that it breaks; empty: eligible."""

    key: key.WorkloadKey
    against: tuple[tuple[str, str], ...]

    def objections(self) -> Iterator[tuple[str, str]]:
        """`against`, and behind it every part of the key that can't be told, as a slug with its sentence, too."""
        yield from self.against
        for part, what in self.key.unknown.items():
            yield "unknown-fact", f"{part}: {what} can't be told"


def runc_root(config: Config, record: ContainerRecord) -> str:
    """What containerd gives runc as --root for this container: the handler's own, or the configured one."""
    options = record.runc
    root = options.root if options and options.root else config.runc_root
    return f"{root}/{config.containerd_namespace}"


def of(
    containerd: Containerd,
    record: ContainerRecord,
    bundle: BundleFacts,
    salt: bytes,
    *,
    sandbox_sysctl: Mapping[str, str] | None = None,
    extras: Mapping[str, str | None] = _NONE,
    namespace_uid: str = "",
) -> Identity:
    """Raises ContainerdError where containerd can't say; what a file can't say makes the key unknown.

    `sandbox_sysctl`: those of the pod; None: read here from its sandbox's record. `extras`, `namespace_uid`: as
    `key.workload_key` has them.
    """
    facts = RecordFacts(
        snapshotter=record.snapshotter,
        host_network=_is_in_host(bundle, "network", "net"),
        host_ipc=_is_in_host(bundle, "ipc", "ipc"),
        kind=kind_by_labels(dict(record.labels)),
    )
    against = (*ineligible(bundle), *ineligible_record(facts))
    pod = _sandbox_record(containerd, bundle)
    sandbox = sandbox_facts(bundle, pod.labels if pod else {})
    if sandbox_sysctl is None and pod is not None:
        sandbox_sysctl = bundles.read(dict(pod.spec)).sysctl
    answers = {
        destination: _answer(source, how, sandbox)
        for destination, source, how in mounts.mount_questions(bundle)
    }
    try:
        chain_id = containerd.chain_id(record)
    except ContainerdError:
        if record.snapshotter == "overlayfs":
            raise
        chain_id = ""
    stdin = record.cri.stdin if record.cri else None
    found = key.workload_key(
        bundle,
        chain_id,
        sandbox,
        answers,
        salt,
        stdin,
        sandbox_sysctl=sandbox_sysctl,
        extras=extras,
        account_uid=_account_uid(bundle),
        namespace_uid=namespace_uid,
    )
    return Identity(found, against)


def _sandbox_record(containerd: Containerd, bundle: BundleFacts) -> ContainerRecord | None:
    """The pod's sandbox, whose labels and sysctls no container of it has; None where containerd has none (rule 6.1)."""
    try:
        return containerd.container(bundle.sandbox_id) if bundle.sandbox_id else None
    except NotFound:
        return None


def _account_uid(bundle: BundleFacts) -> str:
    for destination, source, how in mounts.mount_questions(bundle):
        if how == mounts.SERVICE_ACCOUNT:
            try:
                return content.account_uid(_file(f"{source}/token", "")[2])
            except OSError as error:
                log.debug("the token at %s can't be read: %s", destination, error.strerror)
    return ""


def _is_in_host(bundle: BundleFacts, type: str, file: str) -> bool | None:
    """Whether the namespace of this type that the spec joins is this node's own; None where it can't be told.

    CRI writes a path for every pod, also for one in the host's network.
    """
    path = bundle.namespaces.get(type)
    if not path:
        return path is None
    try:
        return os.stat(path).st_ino == os.stat(f"/proc/self/ns/{file}").st_ino
    except OSError:
        return None


def sandbox_facts(bundle: BundleFacts, labels: Mapping[str, str] = _NONE) -> noise.SandboxFacts:
    """What is known of the pod and this node, against which noise is recognised. `labels`: of the sandbox."""
    pause = addresses.process_of(bundle.namespaces.get("ipc", ""))
    return noise.SandboxFacts(
        name=bundle.sandbox_name,
        namespace=bundle.sandbox_namespace,
        uid=bundle.sandbox_uid,
        ips=_addresses(pause) if pause else (),
        hostname=_hostname(bundle),
        node_names=(os.uname().nodename,),
        labels=labels,
        interchangeable=bundle.annotations.get(noise.IDENTITY) == noise.INTERCHANGEABLE,
    )


def _addresses(pid: int | str) -> tuple[str, ...]:
    try:
        return addresses.of_process(pid)
    except OSError:
        return ()


def _hostname(bundle: BundleFacts) -> str:
    for mount in bundle.mounts:
        if mount.destination == "/etc/hostname":
            try:
                with open(mount.source) as file:
                    return file.read(256).strip()
            except OSError:
                return ""
    return bundle.hostname


def _answer(source: str, how: str, sandbox: noise.SandboxFacts) -> str | None:
    try:
        if how == mounts.BACKING:
            return _backing(source)
        if how == mounts.VOLUME:
            return _volume(source, sandbox)
        if how == mounts.SERVICE_ACCOUNT:
            return content.service_account(_file(f"{source}/token", "")[2])
        found = _content(source, sandbox)
        return found if found is not None or how == mounts.CONTENT else _backing(source)
    except (OSError, ValueError):
        return None


def _volume(source: str, sandbox: noise.SandboxFacts) -> str | None:
    """A CSI volume by what the kubelet notes beside it (pkg/volume/csi): the directory is named by the persistent
    volume, or by the pod alone (`csi:` in its volumes), where the same name says nothing about what is in it."""
    with open(f"{os.path.dirname(source)}/vol_data.json", "rb") as file:
        noted = json.loads(file.read(content.LIMIT))
    if not isinstance(noted, dict):
        return None
    mode, driver, handle = (noted.get(name) for name in ("volumeLifecycleMode", "driverName", "volumeHandle"))
    if mode == "Persistent" and driver and handle:
        return json.dumps([mode, driver, handle])
    found = _content(source, sandbox) if mode == "Ephemeral" else None
    return json.dumps([mode, driver, found]) if found else None


def _content(source: str, sandbox: noise.SandboxFacts) -> str | None:
    """The digest of the files, or None when there is more of them than such a volume holds."""
    files, total = [], 0
    for path, mode, data in _files(source):
        total += len(data)
        if total > content.LIMIT:
            return None
        files.append((path, mode, data))
    return content.digest(files, lambda text: noise.metadata(sandbox, text))


def _files(source: str) -> Iterator[tuple[str, int, bytes]]:
    """Every file with its path below `source`, links followed, names that begin with ".." left out."""
    if os.path.isfile(source):
        yield _file(source, "")
        return
    for below, directories, names in os.walk(source, onerror=_raise, followlinks=True):
        directories[:] = sorted(name for name in directories if not name.startswith(".."))
        for name in sorted(names):
            if not name.startswith(".."):
                yield _file(f"{below}/{name}", os.path.relpath(f"{below}/{name}", source))


def _raise(error: OSError) -> None:
    """What can't be listed is not known: to leave it out would be a guess."""
    raise error


def _file(path: str, shown: str) -> tuple[str, int, bytes]:
    with open(path, "rb") as file:
        return shown, stat.S_IMODE(os.fstat(file.fileno()).st_mode), file.read(content.LIMIT + 1)


def _backing(source: str) -> str | None:
    """What is mounted at the path: file system, device and root, as mountinfo says."""
    for mount in reversed(mountinfo.read()):
        if mount.target == source:
            return f"{mount.fstype} {mount.source} {mount.root}"
    return None
