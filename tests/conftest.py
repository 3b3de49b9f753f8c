"""What every unit test begins with."""

import sys
from collections.abc import Iterator

import pytest
from tests import drawn  # noqa: F401

import glowplug.containerd  # noqa: F401 - before a test imports grpc

KEPT = {"glowplug.capture.readers": "READERS", "glowplug.agent.captures.logwatch": "MATCHERS"}


@pytest.fixture(autouse=True)
def _no_worker_left() -> Iterator[None]:
    """The processes that an agent keeps ready are no children of the next test's."""
    yield
    for module, name in KEPT.items():
        if module in sys.modules:
            getattr(sys.modules[module], name).close()
