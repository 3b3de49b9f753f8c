"""The files of runtime_config/: each the one owner of what it configures, with `${names}` to fill in."""

import os
import string
import sys
from collections.abc import Mapping

from glowplug.errors import NodeError, UsageError

_CHECKOUT = f"{os.path.dirname(os.path.abspath(__file__))}/../../../runtime_config"


def directory() -> str:
    """Where they are: in the repository, else where an installation puts them. Raises NodeError."""
    for found in (_CHECKOUT, f"{sys.prefix}/share/glowplug/runtime_config"):
        if os.path.isdir(found):
            return os.path.normpath(found)
    raise NodeError(
        f"there are no templates in {sys.prefix}/share/glowplug/runtime_config: install Glowplug again"
    )


def names() -> list[str]:
    """Of all that can be rendered."""
    root = directory()
    return sorted(
        os.path.relpath(os.path.join(folder, file), root)
        for folder, _, files in os.walk(root)
        for file in files
        if not file.startswith(".")
    )


def read(name: str) -> str:
    """A template as it is there. Raises UsageError: there is none of that name."""
    if name not in names():
        raise UsageError(f"expected one of {', '.join(names())}, got {name[:80]!r}")
    with open(f"{directory()}/{name}") as file:
        return file.read()


def fill(name: str, values: Mapping[str, str]) -> str:
    """A template with its names filled in; one that is not among the values stays as it is."""
    return string.Template(read(name)).safe_substitute(values)
