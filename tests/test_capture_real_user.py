"""The user as whom CRIU dumps: what the kernel lets it read decides."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from glowplug.capture import real_user
from glowplug.errors import UsageError
from glowplug.host import process

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="to start processes of other users needs root")


@pytest.fixture
def processes() -> Iterator[dict[int, int]]:
    """A sleeping process of each of these users, which are their groups as well: user → pid."""
    found = {}
    for user in (0, 1000, 1001):
        found[user] = subprocess.Popen(["sleep", "60"], user=user, group=user, extra_groups=[])
    yield {user: child.pid for user, child in found.items()}
    for child in found.values():
        child.kill()
        child.wait()


@pytest.fixture
def without_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a node whose root lacks it."""
    monkeypatch.setattr(process, "effective_capabilities", lambda pid: (1 << 41) - 1 - (1 << 24))


def test_who_has_the_capability_dumps_as_it_is(
    processes: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "effective_capabilities", lambda pid: 1 << 24)
    assert real_user.of(processes.values()) is None


@pytest.mark.parametrize(("user", "ids"), [(0, None), (1000, (1000, 1000))])
def test_processes_of_one_user(
    processes: dict[int, int], without_capability: None, user: int, ids: tuple[int, int] | None
) -> None:
    assert real_user.of([processes[user]]) == ids


@pytest.mark.parametrize("users", [(0, 1000), (1000, 1001)])
def test_processes_of_several_users_are_refused(
    processes: dict[int, int], without_capability: None, users: tuple[int, ...]
) -> None:
    with pytest.raises(UsageError, match=r"several users .*CAP_SYS_RESOURCE"):
        real_user.of([processes[user] for user in users])


def test_a_process_that_is_gone_says_nothing(without_capability: None) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert real_user.of([child.pid]) is None
