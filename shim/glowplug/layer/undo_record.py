"""Undo records: small JSON files that say how a directory was before we changed it.

Written by rename, before the first change; so a record that is there is complete, and where none is
there, nothing was changed.
"""

import os

from glowplug import jsontext
from glowplug.errors import LayerError

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from typing import Any

_VERSION = 1


def write(path: str, content: "dict[str, Any]") -> None:
    """Write a new record; its directory must exist. LayerError when one is there: that comes first."""
    if os.path.lexists(path):
        raise LayerError(f"{path} records a change that was cut short: undo that first")
    try:
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(jsontext.dumps({"version": _VERSION, **content}))
        os.rename(path + ".new", path)
    except OSError:
        forget(path)
        raise


def read(path: str) -> "dict[str, Any] | None":
    """The record's content, or None when there is none."""
    try:
        with open(path, encoding="ascii") as file:
            content = jsontext.loads(file.read())
        if not isinstance(content, dict):
            raise TypeError(f"expected an object, got {type(content).__name__}")
        version = content["version"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise LayerError(f"{path} is not an undo record: {error}") from error
    if version != _VERSION:
        raise LayerError(f"the undo record {path} has version {version}, this Glowplug reads {_VERSION}")
    return content


def forget(path: str) -> None:
    """Remove the record, and what a killed `write` left."""
    for name in (path, path + ".new"):
        if os.path.lexists(name):
            os.unlink(name)
