"""What the runtime says of a start: to the spool (outcomes/spool.py), and to containerd.

HOT.
"""

import time

from glowplug import jsontext
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.outcomes.spool import FORMAT, append

__all__ = ("FORMAT", "append", "names", "report_to_containerd")


def names(container: str, facts: BundleFacts) -> dict[str, object]:
    """Whose start it is: the fields that every record of one has."""
    return {
        "container_id": container,
        "sandbox_id": facts.sandbox_id,
        "namespace": facts.sandbox_namespace,
        "pod": facts.sandbox_name,
        "pod_uid": facts.sandbox_uid,
        "container": facts.container_name,
    }


def report_to_containerd(log: str | None, message: str) -> bool:
    """The error as runc would log it: containerd shows the last one of the file that `--log` names.

    False where it can't be written: what was refused stays refused, without words.
    """
    if log is None:
        return False
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with open(log, "a") as file:
            file.write(jsontext.dumps({"level": "error", "msg": f"glowplug: {message}", "time": now}) + "\n")
    except OSError:
        return False
    return True
