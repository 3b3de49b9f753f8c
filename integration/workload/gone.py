"""Files that are open and whose name was removed, in every way in which a name can go."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from typing import BinaryIO

GONE = "/srv/gone"


def unlinked() -> Callable[[], object]:
    """A file that never had a name, or has none any more; a try reads it and adds a byte."""
    file = tempfile.TemporaryFile(dir="/tmp")  # noqa: SIM115
    file.write(secrets.token_bytes(16))
    return _reader(file)


def of_the_image() -> Callable[[], object]:
    """A file of the image, opened for reading and removed."""
    file = open(f"{GONE}/image", "rb")  # noqa: SIM115
    os.unlink(f"{GONE}/image")

    def look() -> object:
        file.seek(0)
        return {"content": file.read().decode()}

    return look


def with_its_directory() -> Callable[[], object]:
    """A new file, removed together with the directory it was in."""
    os.makedirs(f"{GONE}/directory/below")
    file = open(f"{GONE}/directory/below/file", "w+b")  # noqa: SIM115
    file.write(secrets.token_bytes(16))
    shutil.rmtree(f"{GONE}/directory")
    return _reader(file)


def with_another_name() -> Callable[[], object]:
    """A new file of two names, open under the one that was removed."""
    file = open(f"{GONE}/first", "w+b")  # noqa: SIM115
    file.write(secrets.token_bytes(16))
    os.link(f"{GONE}/first", f"{GONE}/second")
    os.unlink(f"{GONE}/first")
    return _reader(file, f"{GONE}/second")


def of_the_image_with_another_name() -> Callable[[], object]:
    """A file of the image, changed (so that it was copied to the layer), open under a removed name."""
    os.link(f"{GONE}/copied", f"{GONE}/copied.second")
    file = open(f"{GONE}/copied", "r+b")  # noqa: SIM115
    file.write(secrets.token_bytes(16))
    os.unlink(f"{GONE}/copied")
    return _reader(file, f"{GONE}/copied.second")


def _reader(file: BinaryIO, name: str = "") -> Callable[[], object]:
    """`name`: what the same file is still called."""
    file.flush()

    def look() -> object:
        file.seek(0)
        content = file.read()
        file.write(b".")
        file.flush()
        facts: dict[str, object] = {"token": content[:16].hex(), "added": len(content) - 16}
        if name:
            facts["has_name"] = os.path.samestat(os.fstat(file.fileno()), os.stat(name))
        return facts

    return look
