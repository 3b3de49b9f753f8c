"""The container that is to be captured: found, eligible, alone in being captured, and measured."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from glowplug import paths
from glowplug.capture import identity, judged
from glowplug.capture.request import Request
from glowplug.checkpoint import bundle, mounts
from glowplug.checkpoint.judgement import Judgement
from glowplug.checkpoint.oci import Spec
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.errors import ContainerdError, LayerError, UsageError
from glowplug.host import cgroup, memory, process
from glowplug.layer import overlay, tree


@dataclass(frozen=True, slots=True)
class Subject:
    """`init`: its first process (host pid). `upper`: its overlay's upper directory. `shm`: the pod's /dev/shm on
    the host, or "" where the container has none, or a volume there. `memory_bytes`, `layer_bytes` (and /dev/shm's):
    what a capture will have to write. `spec`: of the bundle that runc got; `facts`: what it says."""

    record: ContainerRecord
    facts: bundle.BundleFacts
    init: int
    upper: str
    shm: str
    memory_bytes: int
    layer_bytes: int
    spec: Spec = field(repr=False)

    @property
    def pids(self) -> list[int]:
        """Its process tree as it is now, parents first (host pids). Zombies have nothing that could be captured."""
        return [pid for pid in process.tree(self.init) if not process.is_zombie(pid)]


def find(config: Config, containerd: Containerd, request: Request) -> Subject:
    """Raises UsageError when there is no such running container, or more than one; ContainerdError, HostError."""
    record = _one(containerd, request)
    task = containerd.task(record.id)
    if task is None or task.status != "running":
        raise UsageError(
            f"{_describe(request)} is {task.status if task else 'gone'}: only a running container can be captured"
        )
    spec = judged.spec_of(identity.runc_root(config, record), record.id)
    facts = bundle.read(spec)
    upper = upper_of(containerd, record)
    pids = process.tree(task.pid)
    shm_directory = mounts.shared_memory(facts)
    shm = shm_directory if os.path.isdir(shm_directory) else ""
    return Subject(
        record=record,
        facts=facts,
        init=task.pid,
        upper=upper,
        shm=shm,
        memory_bytes=memory.to_dump(pids),
        layer_bytes=tree.size_of(upper) + (tree.size_of(shm) if shm else 0),
        spec=spec,
    )


PAGE_BYTES = 4096


def require_page_size(page_bytes: int) -> None:
    """Raises UsageError where the kernel's pages are not those that images are rewritten in (criu/layout.py)."""
    if page_bytes != PAGE_BYTES:
        raise UsageError(
            f"this node's kernel has pages of {page_bytes} bytes, and only {PAGE_BYTES} were tried: "
            "nothing is captured here until they are"
        )


def require_eligible(subject: Subject, judgement: Judgement) -> None:
    """Raises UsageError with the first rule that the container breaks, or what can't be known of it."""
    require_page_size(os.sysconf("SC_PAGE_SIZE"))
    for slug, sentence in judgement.objections():
        raise UsageError(f"this container can't be captured ({slug}): {sentence}")
    require_none_written(subject, judgement)
    require_none_stopped(subject.pids)
    _require_rootfs(subject)


def require_none_written(subject: Subject, judgement: Judgement) -> None:
    """Raises UsageError for a file that is open for writing on a volume that does not travel (rule 4.3)."""
    for path, destination in mounts.written_identities(
        _open_for_writing(subject), judgement.files.mounts(subject.facts)
    ):
        raise UsageError(
            f"this container can't be captured: {path} is open for writing on the volume {destination}, "
            "which does not travel with a checkpoint: close it first"
        )


def _require_rootfs(subject: Subject) -> None:
    """Raises UsageError where the root file system of its copies could not be mounted again with their layer in it."""
    try:
        overlay.of_upper(subject.upper)
    except LayerError as error:
        raise UsageError(f"this container can't be captured: {error}") from error


def require_none_stopped(pids: list[int]) -> None:
    """Raises UsageError for a process (host pid) that a signal has stopped, on cgroup v1.

    Its freezer holds such a process where no ptrace(2) can have it: CRIU would wait for it, and the container with
    it, until somebody thaws it. On v2 it can be captured.
    """
    if cgroup.version() != 1:
        return
    for pid in pids:
        if process.is_stopped(pid):
            raise UsageError(
                f"this container can't be captured: its process {pid} is stopped by a signal, and cgroup v1 can't "
                "freeze such a process for a dump: have it continue (SIGCONT) first"
            )


@contextmanager
def alone(container: str) -> Iterator[None]:
    """One capture of a container at a time. Raises UsageError when there is one already."""
    os.makedirs(paths.captures(), 0o700, exist_ok=True)
    path = f"{paths.captures()}/{container}"
    while not os.fstat(fd := _locked(path, container)).st_nlink:
        os.close(fd)  # one that ended between our open and our lock took the name away with it
    try:
        yield
    finally:
        os.unlink(path)
        os.close(fd)


def _locked(path: str, container: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise UsageError(f"can't capture container {container}: a capture of it is under way") from None
    return fd


def _one(containerd: Containerd, request: Request) -> ContainerRecord:
    if request.container_id is not None:
        return containerd.container(request.container_id)
    found = containerd.find(request.namespace, request.pod, request.container)
    if not found:
        raise UsageError(f"{_describe(request)}: no such container runs on this node; see `crictl ps`")
    if len(found) > 1:
        names = sorted(record.cri.container_name for record in found if record.cri)
        what = "name one" if len(set(names)) > 1 else "a pod of that name is on its way out, try again"
        raise UsageError(
            f"expected one container, got {len(found)} in pod {request.pod} ({', '.join(names)}): {what}"
        )
    return found[0]


def _describe(request: Request) -> str:
    return "/".join(part for part in (request.namespace, request.pod, request.container) if part)


def upper_of(containerd: Containerd, record: ContainerRecord) -> str:
    """The upper directory of its root file system. Raises ContainerdError."""
    for mount in containerd.rootfs_mounts(record):
        for option in mount.options:
            if option.startswith("upperdir="):
                return option.removeprefix("upperdir=")
    raise ContainerdError(f"container {record.id} has no overlay with an upper directory")


def _open_for_writing(subject: Subject) -> set[str]:
    """Paths, as the container sees them, that its processes may write to through a descriptor or mapping."""
    found = set()
    for pid in subject.pids:
        found.update(process.written_files(pid))
    return found
