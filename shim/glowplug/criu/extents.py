"""Memory extents: large pieces of process memory that are beside CRIU's images, and where they belong.

A checkpoint's directory `memory/` holds
    extents.json        what there is: one record for each data file and process
    runs                for each record, its runs: address, length, offset in the data file (64-bit, little endian)
    pages-<n>.extent    the data
A run is a piece of memory without a gap; lengths, addresses and offsets are multiples of the page size.
Runs of a record go upwards in the file and in memory. All of a run is written, zeros and holes of the data file
too: in a private mapping of a file, what is not written is the file's. Elsewhere a page that no run names is zero.

Used by the runtime: standard library only.
"""

import json
import os
import sys
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from glowplug.errors import ImageError

INDEX = "extents.json"
RUNS = "runs"
PAGE = 4096
HUGE = 2 << 20
VERSION = 1

_WORDS = 3


class Extent(NamedTuple):
    """One data file's part for one process."""

    data: str
    """Name of the data file in the directory."""
    pid: int
    """Process, by its number in the container, through whose mapping the bytes are written."""
    runs: "array[int]"
    """Address, length, offset; address, length, offset; … in bytes."""
    private: bool = False
    """No other process sees this memory. Where it is not known, it is False."""

    @property
    def bytes(self) -> int:
        """Bytes of memory in all runs."""
        return sum(self.runs[1::_WORDS])


def flat(runs: Sequence[tuple[int, int, int]]) -> "array[int]":
    """Runs as (address, length, offset) in the form in which an Extent keeps them."""
    return array("Q", (word for run in runs for word in run))


def save(memory_dir: str, extents: Sequence[Extent]) -> None:
    """Write the index and the runs of ``extents``, whose data files are there already. Raises ImageError."""
    records = [
        {
            "data": extent.data,
            "pid": extent.pid,
            "runs": len(extent.runs) // _WORDS,
            "bytes": extent.bytes,
            "private": extent.private,
        }
        for extent in extents
    ]
    try:
        with open(os.path.join(memory_dir, RUNS), "xb") as file:
            for extent in extents:
                file.write(_ordered(extent.runs).tobytes())
        with open(os.path.join(memory_dir, INDEX), "x", encoding="utf-8") as index:
            json.dump({"version": VERSION, "page": PAGE, "extents": records}, index, indent=1)
    except OSError as error:
        raise ImageError(f"the index of the memory extents can't be written: {error.strerror}") from error


def load(memory_dir: str) -> list[Extent]:
    """Read the index of a checkpoint and check it against the sizes of the data files.

    Raises ImageError: something is missing, short, or makes no sense.
    """
    try:
        with open(os.path.join(memory_dir, INDEX), "rb") as file:
            index = json.loads(file.read())
        with open(os.path.join(memory_dir, RUNS), "rb") as file:
            words = array("Q", file.read())
    except (OSError, ValueError) as error:
        raise ImageError(f"the index of the memory extents can't be read: {error}") from error
    words = _ordered(words)
    if not isinstance(index, dict) or (index.get("version"), index.get("page")) != (VERSION, PAGE):
        raise ImageError("the index of the memory extents is of another version or page size")
    records = index.get("extents")
    if not isinstance(records, list):
        raise ImageError("the index of the memory extents lists none")
    found, at = [], 0
    for record in records:
        extent, at = _record(record, words, at)
        _check(memory_dir, extent)
        found.append(extent)
    if at != len(words):
        raise ImageError(f"the runs of the memory extents are {len(words)} words, expected {at}")
    return found


def _record(record: object, words: "array[int]", at: int) -> tuple[Extent, int]:
    if not isinstance(record, dict):
        raise ImageError("a record of the memory extents is not an object")
    data, pid, runs = record.get("data"), record.get("pid"), record.get("runs")
    if not (isinstance(data, str) and isinstance(pid, int) and isinstance(runs, int)):
        raise ImageError("a record of the memory extents lacks data, pid or runs")
    if "/" in data or data in ("", ".", "..") or runs < 0 or at + runs * _WORDS > len(words):
        raise ImageError("a record of the memory extents points outside of the checkpoint")
    end = at + runs * _WORDS
    return Extent(data, pid, words[at:end], record.get("private") is True), end


def _check(memory_dir: str, extent: Extent) -> None:
    try:
        size = os.stat(os.path.join(memory_dir, extent.data), follow_symlinks=False).st_size
    except OSError as error:
        raise ImageError(f"memory extent {extent.data} can't be read: {error.strerror}") from error
    address_end = offset_end = 0
    for at in range(0, len(extent.runs), _WORDS):
        address, length, offset = extent.runs[at : at + _WORDS]
        if address < address_end or offset < offset_end or not length or (address | length | offset) % PAGE:
            raise ImageError(f"memory extent {extent.data}: run {at // _WORDS} is out of order")
        address_end, offset_end = address + length, offset + length
    if offset_end > size:
        raise ImageError(f"memory extent {extent.data} has {size} bytes, expected {offset_end}")


def _ordered(words: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        words = words[:]
        words.byteswap()
    return words
