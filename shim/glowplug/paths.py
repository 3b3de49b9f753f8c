"""Every path of ours, each a function or a name: nothing else spells one.

HOT: imported by the runtime before it knows whether there is work.
"""

import os

RUN_DIR = os.environ.get("GLOWPLUG_RUN_DIR", "/run/glowplug")
CONFIG_FILE = os.environ.get("GLOWPLUG_CONFIG", "/etc/glowplug/config.toml")
CACHE_ROOT = "/var/lib/glowplug"


def agent_socket() -> str:
    """The agent's Unix socket: root only, one JSON object per line each way."""
    return f"{RUN_DIR}/agent.sock"


def spool() -> str:
    """Outcomes, a file each, put there by the runtime and taken in by the agent.

    It is in the run directory, which is a tmpfs on a node: a full disk loses no outcome.
    """
    return f"{RUN_DIR}/outcomes"


def prepared() -> str:
    """Cold starts that the agent decided ahead of `create`, one directory each: `prepared_start(id)`."""
    return f"{RUN_DIR}/prepared"


def prepared_start(container: str) -> str:
    """What the script of `glowplug-runtime` needs for a cold start without Python (agent/serving/prepare.py)."""
    return f"{prepared()}/{container}"


MATCH = "match"
"""The file in `prepared_start` that says: a checkpoint was found for it."""


def published() -> str:
    """Written whenever a checkpoint is published: what was prepared before is decided again."""
    return f"{RUN_DIR}/published"


def no_seccomp() -> str:
    """Present where the node's runc was built without seccomp (host/seccomp.py)."""
    return f"{RUN_DIR}/no-seccomp"


def no_force() -> str:
    """Present where a restored process took no write by force, though the kernel lets us (criu/forced.py)."""
    return f"{RUN_DIR}/no-force"


def attempts() -> str:
    """One directory per restore under way: `attempt(id)`."""
    return f"{RUN_DIR}/restores"


def attempt(container: str) -> str:
    """Journal and lock of one restore; gone when the restore ended, however it ended."""
    return f"{attempts()}/{container}"


TRIAL = "glowplug-trial-"
"""Begins the name of each restore that is a trial of a fresh checkpoint (restore/trial), and of its cgroup."""


def trial_id(container: str) -> str:
    """The made-up container of a trial: one at a time for each container that is captured."""
    return f"{TRIAL}{container}"


def trial_place(cache: str, container: str) -> str:
    """Everything that a trial puts down, on the cache's file system; gone when it has ended."""
    return f"{cache}/views/{trial_id(container)}.place"


def captures() -> str:
    """Lock files of captures under way, one per container."""
    return f"{RUN_DIR}/captures"


def capture_scratch(container: str) -> str:
    """CRIU's log and options while a container is captured."""
    return f"{RUN_DIR}/capture-{container}"


def capturing() -> str:
    """One directory per capture that the agent has begun: `capturing_one(id)`."""
    return f"{RUN_DIR}/capturing"


def capturing_one(container: str) -> str:
    """Journal and lock of one capture by the agent; gone when nothing of it is left to be done."""
    return f"{capturing()}/{container}"


def judgements() -> str:
    """One file per container of ours: `judgement(id)`."""
    return f"{RUN_DIR}/containers"


def judgement(container: str) -> str:
    """What was decided about a container at its create (capture/judged.py)."""
    return f"{judgements()}/{container}.json"


def node_name() -> str:
    """This node's name in Kubernetes (capture/node_names.py)."""
    return f"{RUN_DIR}/node-name"


def namespaces() -> str:
    """The uids of Kubernetes' namespaces (capture/namespaces.py)."""
    return f"{RUN_DIR}/namespaces.json"


def weights() -> str:
    """Digests of the files of weights, by inode."""
    return f"{RUN_DIR}/weights.json"


def capture_slots() -> str:
    """Lock files of the captures that pause containers, one per slot."""
    return f"{RUN_DIR}/slots"


def restore_bundle(bundle: str) -> str:
    """Our own directory inside a container's bundle: the spec that runc restores, CRIU's work directory.

    It lives and goes with the bundle; runc's state names it as the container's bundle.
    """
    return f"{bundle}/glowplug"


def marker(runc_root: str, container: str) -> str:
    """Present when `create` restored this container. It is in runc's state directory and goes with it."""
    return f"{runc_root}/{container}/glowplug"


def stopped(runc_root: str, container: str) -> str:
    """Present beside the marker when somebody had the container signalled: an end was requested."""
    return f"{marker(runc_root, container)}.stopped"


def hooked(runc_root: str, container: str) -> str:
    """Present beside the marker once the hook after the restore has run."""
    return f"{marker(runc_root, container)}.hooked"


def runc_state(runc_root: str, container: str) -> str:
    """runc's state directory of one container (`--root`)."""
    return f"{runc_root}/{container}"
