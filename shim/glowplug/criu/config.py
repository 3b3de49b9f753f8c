"""What CRIU is to do, as the text of its configuration files, and what its log says when it could not.

runc passes on a configuration file of the annotation `org.criu.config`, and CRIU applies it after
runc's own options, so these files have the last word. At dump runc reads the annotation from its own record
of the running container, at restore from the bundle's config.json. Imports next to nothing: the runtime
uses this file.
"""

from glowplug.errors import CriuError

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Iterable

_LINE_LIMIT = 300
_LOG_TAIL = 1 << 20
# Said in runs that go well, too: where the caller lacks CAP_SYS_RESOURCE; before a ghost file is tried.
_HARMLESS = ("rlimit: Can't setup RLIMIT_NOFILE", "trim failed:")

GHOST_LIMIT = 512 << 20
"""Bytes of a removed file that is still open, at most, to be taken along in the images."""

SEIZE_S = 10
"""How long CRIU waits, at most, for all tasks to stop. The container is frozen meanwhile."""

ANNOTATION = "org.criu.config"
"""OCI annotation that names a CRIU configuration file (runc, libcontainer/criu_linux.go)."""

# Said at both ends. Network: nothing is locked, since a
# frozen tree sends nothing, and a node without iptables would fail the dump. Connections: see sockets.py.
# No verbosity: over RPC CRIU takes runc's log level (4), whatever a file says (cr-service.c, setup_logging_from_req).
# `option=value` where CRIU takes the value as optional: after a blank it would not be seen.
_BOTH = """\
network-lock skip
tcp-established
ext-unix-sk
file-locks
link-remap
"""

# At dump, cgroups are recorded: cgroups.py makes of the record what a restore needs.
# Connections still in an accept queue are left out, open unlinked files up to a size come along, and
# watched paths are looked up by name, because overlayfs can't open its own file handles.
_DUMP = f"""\
skip-in-flight
ghost-limit {GHOST_LIMIT >> 20}M
force-irmap
"""


def dump(watched: tuple[str, ...] = (), seize_s: float = SEIZE_S, external: tuple[str, ...] = ()) -> str:
    """Configuration for a dump.

    watched: absolute paths in the container that inotify watches (see watches.py). seize_s: how long CRIU may wait
    for the tasks to stop; it counts full seconds, and at least one. external: mount points whose mounts come from
    outside, and are left out; a restore names their sources by them. CriuError: a path that CRIU's parser can't take.
    """
    scanned = "".join(f'irmap-scan-path "{_checked(path)}"\n' for path in watched)
    outside = "".join(f'external "mnt[{_checked(point)}]:{_checked(point)}"\n' for point in external)
    return f"{_BOTH}{_DUMP}timeout {max(1, int(seize_s))}\n{scanned}{outside}"


def restore(
    leave_stopped: bool = False,
    cgroup: str | None = None,
    script: str | None = None,
    mounts: "Iterable[tuple[str, str]]" = (),
) -> str:
    """Configuration for a restore. The tasks stay in the cgroups where runc puts CRIU.

    leave_stopped: leave every task stopped (SIGSTOP) instead of letting it run.
    cgroup: the new container's cgroup, from the root of the unified hierarchy (OCI `linux.cgroupsPath` as
    runc takes it without systemd), if the processes have a cgroup namespace of their own (cgroups.py).
    script: path of an action script (action_script.py).
    mounts: (mount point in the container, path on the host) of bind mounts that runc would take from elsewhere.
    """
    namespace = (
        f'manage-cgroups=none\ncgroup-root ":{_checked(cgroup)}"\n' if cgroup else "manage-cgroups=ignore\n"
    )
    stages = f'action-script "{_checked(script)}"\n' if script else ""
    external = "".join(f'external "mnt[{_checked(point)}]:{_checked(source)}"\n' for point, source in mounts)
    return _BOTH + namespace + stages + external + ("leave-stopped\n" if leave_stopped else "")


def log_errors(log: str, most: int = 3) -> str:
    """The last error lines of CRIU's log file at path ``log`` (dump.log, restore.log), oldest first.

    Each is cut to 300 characters. CRIU's messages name paths, pids and sockets, never memory contents.
    A log that is missing or says nothing is reported as such; this never raises.
    """
    try:
        found = [said for _, said in _errors(log)]
    except OSError as error:
        return f"CRIU left no log ({error.strerror})"
    return "; ".join(found[-most:]) or "CRIU's log names no error"


def log_sources(log: str, most: int = 3) -> list[str]:
    """Names of the source files of CRIU that those errors come from, `sk-unix.c` say; never raises."""
    try:
        return [source for source, _ in _errors(log)][-most:]
    except OSError:
        return []


def _errors(log: str) -> list[tuple[str, str]]:
    """(source file, words) of each. Raises OSError."""
    with open(log, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _LOG_TAIL))
        lines = file.read().decode("utf-8", "replace").splitlines()
    found = []
    for line in lines:
        # "(00.069352)      1: Error (criu/files-reg.c:2258): message"
        _, mark, rest = line.partition("Error (")
        source, end, said = rest.partition("): ")
        if mark and end and said and not said.startswith(_HARMLESS):
            found.append((source.partition(":")[0].rpartition("/")[2], said[:_LINE_LIMIT]))
    return found


def can_hold(path: str) -> bool:
    """Whether CRIU's parser takes the path: it splits at blanks, cuts at '#', and ends a quoted value at the next
    quote."""
    return path.startswith("/") and not any(c in '"#\\' or c.isspace() or not c.isprintable() for c in path)


def _checked(path: str) -> str:
    if not can_hold(path):
        raise CriuError(f"a path can't be written into a CRIU configuration file: {path!r}")
    return path
