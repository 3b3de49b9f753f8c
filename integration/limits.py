"""Where a container's limits can be tried: not on a cgroup v2 whose controllers still belong to v1.

That is what a machine with v1 shows when v2 is mounted over /sys/fs/cgroup: containers run there, without the
files of the memory and cpu controllers.
"""

import pytest


def _can_limit() -> bool:
    try:
        with open("/sys/fs/cgroup/cgroup.controllers") as file:
            return {"cpu", "memory"} <= set(file.read().split())
    except FileNotFoundError:
        return True  # cgroup v1


needs_limits = pytest.mark.skipif(
    not _can_limit(), reason="cgroup v2 is mounted without the memory and cpu controllers"
)
