"""Our text inside somebody else's file: inserted between two marks, and removed again byte for byte.

Everything here is bytes in, bytes out. A mark names the handler, so that two handlers can share a file.
"""

from glowplug.errors import NodeError

_BEGIN = (
    "# BEGIN glowplug, handler {}: `glowplug node install` wrote this, `glowplug node uninstall` takes it out"
)
_END = "# END glowplug, handler {}"


def at_top(text: bytes, body: str, handler: str) -> bytes:
    """The file with a block before everything: where TOML wants keys that belong to no table."""
    return _marked(body, handler) + text


def at(text: bytes, offset: int, body: str, handler: str) -> bytes:
    """The file with a block at this offset, on lines of its own: at the end, or behind a bracket."""
    return text[:offset] + b"\n" + _marked(body, handler) + text[offset:]


def without(text: bytes, handler: str) -> bytes:
    """The file as it was before our blocks, with all that others changed around them since.

    Raises NodeError where the marks do not pair: then somebody edited them, and it is for a person to look.
    """
    begin, end = _BEGIN.format(handler).encode(), _END.format(handler).encode() + b"\n"
    while (start := _line(text, begin)) >= 0:
        stop = text.find(end, start)
        if stop < 0 or begin in text[start + len(begin) : stop]:
            raise NodeError(f"a BEGIN has no line '{end.decode().strip()}' after it: {_FIX}")
        stop += len(end)
        text = text[: _from(text, start, stop)] + text[stop:]
    if end.rstrip() in text:
        raise NodeError(f"the line '{end.decode().strip()}' has no BEGIN before it: {_FIX}")
    return text


_FIX = "take the lines of glowplug out by hand, then run this again"


def present(text: bytes, handler: str) -> bool:
    """Whether the file holds a block for this handler."""
    return _line(text, _BEGIN.format(handler).encode()) >= 0


def _marked(body: str, handler: str) -> bytes:
    return f"{_BEGIN.format(handler)}\n{body.rstrip()}\n{_END.format(handler)}\n".encode()


def _line(text: bytes, begin: bytes) -> int:
    """Where a line starts with this; -1 where none does."""
    if text.startswith(begin):
        return 0
    found = text.find(b"\n" + begin)
    return found + 1 if found >= 0 else -1


def _from(text: bytes, start: int, stop: int) -> int:
    """Where the cut begins: `at` put a newline before the block, which goes too unless it now ends a line."""
    if start == 0:
        return 0
    before = text[: start - 1]
    ours = not before or before.endswith((b"\n", b"[")) or stop == len(text)
    return start - 1 if ours else start
