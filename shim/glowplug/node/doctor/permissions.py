"""Who else could read a checkpoint or change a program of ours: nobody but root may."""

import os
import stat
from collections.abc import Iterable, Mapping

from glowplug import paths
from glowplug.cache import root_dir
from glowplug.node.doctor.finding import Finding, ok, wrong
from glowplug.node.doctor.probes import Probes, options

PRIVATE = 0o700
OTHERS_WRITE = 0o022
ROOT = 0


def run_dir(_: Probes) -> Finding:
    """Whether only root may enter the run directory."""
    return judge_private(paths.RUN_DIR, _status(paths.RUN_DIR))


def cache(probes: Probes) -> Finding:
    """Whether only root may enter the cache, and whether it holds anything of others."""
    path = probes.config.cache
    return judge_cache(path, _status(path), root_dir.foreign_entries(path))


def judge_cache(path: str, found: os.stat_result | None, foreign_entries: list[str]) -> Finding:
    """`foreign_entries`: what is there of others. To close that directory to them would break the node."""
    if foreign_entries:
        want, fix = "a directory for checkpoints alone", "name another in the configuration (`cache`)"
        return wrong(f"{path} is used by others: {foreign_entries[0]}", want, fix)
    return judge_private(path, found)


def judge_private(path: str, found: os.stat_result | None) -> Finding:
    """`found`: of the directory, links not followed; None where there is none yet: the agent makes it."""
    if found is None:
        return ok(f"{path}: not there yet; the agent makes it")
    text = f"{path}: {stat.filemode(found.st_mode)}, user {found.st_uid}"
    if not stat.S_ISDIR(found.st_mode):
        return wrong(text, "a directory", f"rm {path}, and restart the agent")
    if stat.S_IMODE(found.st_mode) == PRIVATE and found.st_uid == ROOT:
        return ok(text)
    return wrong(text, "root's alone (0700)", f"chown root {path} && chmod 700 {path}")


def programs(probes: Probes) -> Finding:
    """The programs that we run as root, the configuration that names them, and the directories above them."""
    config = probes.config
    handler = probes.handler()
    runtime = str(options(handler).get("BinaryName") or "") if handler else ""
    wanted = [config.criu, config.runc, runtime, paths.CONFIG_FILE]
    return judge_programs(
        {path: found for path in _with_parents(wanted) if (found := _status(path)) is not None}
    )


def judge_programs(found: Mapping[str, os.stat_result]) -> Finding:
    """A user who may write a program, or a directory above it, is root on this node.

    A sticky directory (/tmp) lets nobody replace what is another's.
    """
    loose = [
        path
        for path, status in found.items()
        if status.st_uid != ROOT or (status.st_mode & OTHERS_WRITE and not status.st_mode & stat.S_ISVTX)
    ]
    if not loose:
        return ok("writable by root only")
    names = ", ".join(sorted(loose))
    return wrong(
        f"others may change {names}", "root's alone to write", f"chown root {names}; chmod go-w {names}"
    )


def _with_parents(files: Iterable[str]) -> list[str]:
    """Each path as it really is, and every directory above it."""
    found: dict[str, None] = {}
    for file in files:
        path = os.path.realpath(file) if file else "/"
        while path != "/":
            found[path] = None
            path = os.path.dirname(path)
    return list(found)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
