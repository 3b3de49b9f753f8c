"""The names of this node, which are noise in a container's variables (docs/matching.md, rule 3.2).

Its host name and its name in Kubernetes may be two (`--hostname-override`, a cloud's). The second one the agent knows,
by its configuration or by NODE_NAME; it writes it down, so that all that make a key make the same one.
"""

import os

from glowplug import paths


def known() -> tuple[str, ...]:
    """The host name, and the other one where it was noted and is another."""
    names = [os.uname().nodename]
    try:
        with open(paths.node_name()) as file:
            names.append(file.read(256).strip())
    except (OSError, ValueError):
        pass
    return tuple(dict.fromkeys(name for name in names if name))


def note(name: str) -> None:
    """Write down its name in Kubernetes. Raises OSError."""
    os.makedirs(paths.RUN_DIR, 0o700, exist_ok=True)
    aside = f"{paths.node_name()}.new"
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(name)
    os.rename(aside, paths.node_name())
