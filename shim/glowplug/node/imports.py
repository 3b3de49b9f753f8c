"""containerd's `imports` key: the files that its main file takes in (containerd-config.toml(5))."""

import glob
import os
import re

from glowplug.errors import NodeError
from glowplug.node import block

_KEY = re.compile(rb"""^[ \t]*(?:imports|"imports"|'imports')[ \t]*=[ \t]*\[""", re.MULTILINE)

_TOKEN = re.compile(rb"""#[^\n]*|"(?:\\.|[^"\\])*"|'[^']*'|\]""")


def directory(imports: list[str], main: str) -> str | None:
    """The directory of which every *.toml is imported already, if there is one. `main`: path of the main file."""
    for pattern in imports:
        folder, name = os.path.split(os.path.join(os.path.dirname(main), pattern))
        if name in ("*.toml", "*") and not set(folder) & set("*?["):
            return folder
    return None


def added(text: bytes, imports: list[str] | None, path: str, handler: str, first: str = "") -> bytes:
    """The main file with an import of `path`. `imports`: what it imports now; None where it has no such key.

    `first`: a line to go before it, where the file lacks that too. Raises NodeError: the key is there in a form
    that is not understood.
    """
    if imports is None:
        return block.at_top(text, f'{first}imports = ["{path}"]', handler)
    found = _KEY.search(text)
    if found is None:
        raise NodeError(
            f"can't edit the imports of the main file, which has no line `imports = [`: add {path} to them by hand"
        )
    text = block.at(text, found.end(), f'  "{path}",', handler)
    return block.at_top(text, first, handler) if first else text


def dropped(text: bytes, names: tuple[str, ...]) -> bytes:
    """The main file without these in its list of imports; as it is where the list has none of them."""
    found = _KEY.search(text)
    if found is None:
        return text
    start, end = found.end(), _end(text, found.end())
    listed = text[start:end]
    for name in names:
        one = rb"""(?:"%b"|'%b')[ \t]*""" % (re.escape(name.encode()), re.escape(name.encode()))
        listed = re.sub(one + rb",[ \t]*", b"", listed)
        listed = re.sub(rb"(?:,\s*)?" + one, b"", listed)
    return text[:start] + listed + text[end:]


def resolved(imports: list[str], main: str) -> list[str]:
    """The files that are imported now, in their order. A pattern that fits none names none."""
    found = []
    for pattern in imports:
        path = os.path.join(os.path.dirname(main), pattern)
        found += sorted(glob.glob(path, include_hidden=True)) if "*" in pattern else [path]
    return list(dict.fromkeys(found))


def replaced(text: bytes, paths: list[str]) -> bytes:
    """The main file with these imports in place of its own: for a try. It has the key (see `added`)."""
    found = _KEY.search(text)
    if found is None:
        return text
    listed = ", ".join(f'"{path}"' for path in paths)
    return text[: found.end()] + listed.encode() + text[_end(text, found.end()) :]


def _end(text: bytes, start: int) -> int:
    """Where the bracket closes that is open at `start`: strings and comments have none."""
    for token in _TOKEN.finditer(text, start):
        if token[0] == b"]":
            return token.start()
    return len(text)
