"""Files that a hook had mounted over files of /proc, as a capture kept them (capture/hook_mounts.py): made again."""

import os

from glowplug import jsontext

NAME = "hook-mounts.json"


def recreate(checkpoint: str, directory: str) -> list[tuple[str, str]]:
    """(mount point in the container, the file on the host with its content) of each. Raises OSError, ValueError."""
    path = f"{checkpoint}/images/{NAME}"
    if not os.path.exists(path):
        return []
    import base64  # few need it

    with open(path) as file:
        kept = jsontext.loads(file.read())
    if not isinstance(kept, dict):
        raise ValueError(f"expected {NAME} to be an object, got {type(kept).__name__}")
    found = []
    for number, (point, what) in enumerate(sorted(kept.items())):
        source = f"{directory}/hook-mount-{number}"
        with open(source, "wb") as copy:
            copy.write(base64.b64decode(what["content"]))
            os.fchmod(copy.fileno(), int(what["mode"]))
        found.append((point, source))
    return found
