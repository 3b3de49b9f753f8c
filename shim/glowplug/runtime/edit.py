"""Writing a container's spec again before runc reads it. docs/edits.md lists what is edited.

HOT: at every cold start of an eligible container.
"""

import os

from glowplug import jsontext
from glowplug.checkpoint import withheld
from glowplug.checkpoint.oci import Spec
from glowplug.host import seccomp


def apply(bundle: str, spec: Spec) -> None:
    """`config.json` of the bundle with our edits, replaced in one step. Raises OSError; it is as it was then."""
    edited = withheld.without(spec, seccomp.machine())
    if edited is spec:
        return
    path = f"{bundle}/config.json"
    aside = f"{path}.glowplug"
    before = os.stat(path)
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(jsontext.dumps(edited))
        os.fchown(file.fileno(), before.st_uid, before.st_gid)
        os.fchmod(file.fileno(), before.st_mode & 0o7777)
    os.rename(aside, path)
