"""Whose fault a failed restore was: a table of stages, and one of what CRIU says; the driver's is in known_errors.

Only a checkpoint's own fault quarantines it. Where that is not clear, it is the checkpoint's: a quarantine by
the back-off costs some cold starts, a doomed restore costs all of its time at every start.
"""

import re
from collections.abc import Sequence
from enum import StrEnum

from glowplug import known_errors


class Fault(StrEnum):
    """checkpoint: quarantine it. node: leave it, the node wants care. workload: the new pod differs."""

    CHECKPOINT = "checkpoint"
    NODE = "node"
    WORKLOAD = "workload"


STAGES: dict[str, Fault] = {
    "gpu": Fault.NODE,  # no GPU like the captured one, or its device nodes can't be put in place
    "killed": Fault.NODE,  # somebody ended the runtime or the process that restores, the OOM killer for one
    "cleanup": Fault.NODE,  # what a killed restore left can't be taken back
    "internal-error": Fault.NODE,  # ours
    "state": Fault.CHECKPOINT,  # what CRIU does not bring back could not be set again
    "settings": Fault.CHECKPOINT,  # what only a process can set of itself could not be set again
    "oom": Fault.NODE,  # oom_score_adj can't be set
    "resume": Fault.CHECKPOINT,  # a paused process was gone when it was to run on
    "lease": Fault.NODE,  # it was being removed at that moment
    "check": Fault.CHECKPOINT,  # a file is missing, short or changed
    "layer": Fault.NODE,  # a mount that is busy or gone; the layer's content was verified when it came in
    "shm": Fault.NODE,  # the pod's /dev/shm is too small or not there
    "volumes": Fault.WORKLOAD,  # the new pod's volume is not empty, or too small
    "generation-file": Fault.WORKLOAD,  # its /run is not a directory
    "signal": Fault.CHECKPOINT,  # the process was gone when it was to be signalled
    "image-overlay": Fault.NODE,  # links in the cache
    "spec": Fault.WORKLOAD,  # the new container's spec can't be restored into
    "criu-missing": Fault.NODE,
    "criu": Fault.CHECKPOINT,  # unless its log says otherwise
    "memory": Fault.CHECKPOINT,
    "cuda": Fault.CHECKPOINT,  # unless the driver says otherwise
    "health": Fault.CHECKPOINT,  # a restored process died, or is not what it was
    "credentials": Fault.CHECKPOINT,  # what came back is not what its key promised
    "deadline": Fault.CHECKPOINT,  # slow or hung: a minute lost at every start until it rests
    "disk-full": Fault.NODE,
    "commit": Fault.NODE,
    "marker": Fault.NODE,
}

# strerror(3) texts and messages that show a node short of something, whatever was being restored.
_NODE_SHORT_OF = re.compile(
    r"No space left on device|Disk quota exceeded|Cannot allocate memory|Out of memory|Too many open files"
    r"|Read-only file system|Resource temporarily unavailable"
)

# CRIU 4.x, lines as in its log: "(00.013451)  1: Error (criu/cr-restore.c:1262): 7 killed by signal 9: …".
_CRIU_NODE = re.compile(
    r"when initializing kerndat|criu/kerndat\.c|criu/cgroup\.c|pie/.*cgroupd"
    r"|Operation not permitted|Permission denied"  # a capability or an LSM rule that CRIU lacks here
    r"|killed by signal (9|15):"  # the OOM killer, or somebody else
    r"|iptables|nft(ables)?\b"
)

# Said by CRIU on the way to success: no reason for anything.
_CRIU_HARMLESS = re.compile(r"RLIMIT_NOFILE|Restore original /proc/self/loginuid|Setting loginuid")

_NO_DRIVER = "libcuda"  # said where it can't be loaded, or lacks a function

# What the layer package says of a tree that is not the one captured.
_DAMAGED = re.compile(r"\bthe captured tree .* is damaged")

# No program, no log, no error in it: it was not there, did not start, or was killed.
_CRIU_SAID_NOTHING = re.compile(r"no such program|CRIU is not installed|left no log|names no error")

_LOG_LINE = re.compile(r"\(\d+\.\d+\)")  # "(00.069352) …", with a time in seconds in front
_CRIU_ERROR = re.compile(r"\bError \([^)]*\): ")


def whose(stage: str, said: Sequence[str] = ()) -> Fault:
    """Whose fault it is that a restore failed at stage, by what was said: an error's text, CRIU's log lines.

    A stage that the table does not have counts as the checkpoint's.
    """
    if stage == "criu":
        return _criu(said)
    fault = STAGES.get(stage, Fault.CHECKPOINT)
    if any(_NODE_SHORT_OF.search(line) for line in said):
        return Fault.NODE
    if any(_DAMAGED.search(line) for line in said):
        return Fault.CHECKPOINT
    if stage == "cuda" and any(
        _NO_DRIVER in line or known_errors.is_drivers_on_this_node(line) for line in said
    ):
        return Fault.NODE
    return fault


def _criu(said: Sequence[str]) -> Fault:
    """By the first error in CRIU's log: those after it follow from it. None: CRIU did not run to its end."""
    error = first_error(said)
    if error is None or _NODE_SHORT_OF.search(error) or _CRIU_NODE.search(error):
        return Fault.NODE
    return STAGES["criu"]


def first_error(said: Sequence[str]) -> str | None:
    """The first error that CRIU names, harmless ones aside.

    said: lines of its log, of which the errors count; or the errors alone, "; " between them, as they stand
    in an outcome's detail.
    """
    errors = [line for line in said if _CRIU_ERROR.search(line)]
    if not errors:
        errors = [error for line in said for error in line.split("; ") if not _LOG_LINE.match(error)]
    for error in errors:
        if error.strip() and not _CRIU_HARMLESS.search(error) and not _CRIU_SAID_NOTHING.search(error):
            return error
    return None
