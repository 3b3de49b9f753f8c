"""What every unit test begins with."""

import sys
from collections.abc import Iterator

import pytest
from tests import drawn  # noqa: F401


@pytest.fixture(autouse=True)
def _no_reader_left() -> Iterator[None]:
    """The process that reads volumes, which an agent keeps ready, is no child of the next test's."""
    yield
    readers = sys.modules.get("glowplug.capture.readers")
    if readers is not None:
        readers.READERS.close()
