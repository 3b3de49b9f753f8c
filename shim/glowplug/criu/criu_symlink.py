"""CRIU by the only name that runc looks for: the first `criu` of PATH, whatever the configured one is called."""

import os

NAME = "criu"


def directory(criu: str, scratch: str) -> str:
    """A directory for PATH in which `criu` is that program: its own, or one with a link in ``scratch``. OSError."""
    own, name = os.path.split(criu)
    if name == NAME:
        return own
    made = os.path.join(scratch, "bin")
    os.makedirs(made, 0o700, exist_ok=True)
    link = os.path.join(made, NAME)
    if not os.path.lexists(link):
        os.symlink(criu, link)
    return made
