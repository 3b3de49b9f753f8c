"""A checkpoint in use is never removed, whatever is killed, and a lease costs nothing to end."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.cache_made import published

from glowplug.cache import layout, lease
from glowplug.cache.store import Store
from glowplug.errors import CacheError

HOLDER = """
import signal, sys
from glowplug.cache import lease
lease.take(sys.argv[1], sys.argv[2])
print("locked", flush=True)
signal.pause()
"""


@pytest.fixture
def store(tmp_path: object) -> Store:
    return Store(f"{tmp_path}/store")


@pytest.fixture
def holders() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def leased(store: Store, name: str, holders: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """A process of its own with a lease."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLDER, store.root, name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    holders.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"locked\n"
    return process


def test_a_leased_checkpoint_is_not_removed(store: Store) -> None:
    name = published(store)
    descriptor = lease.take(store.root, name)
    with pytest.raises(CacheError, match="in use"):
        store.remove(name)
    assert store.verify(name) == []
    lease.release(descriptor)
    store.remove(name)
    assert store.ids() == []


def test_many_hold_a_lease_at_once(store: Store) -> None:
    name = published(store)
    descriptors = [lease.take(store.root, name) for _ in range(5)]
    for descriptor in descriptors[1:]:
        lease.release(descriptor)
    with pytest.raises(CacheError, match="in use"):
        store.remove(name)
    lease.release(descriptors[0])
    store.remove(name)


def test_a_lease_of_another_process_outlives_the_agent(
    store: Store, holders: list[subprocess.Popen[bytes]]
) -> None:
    name = published(store)
    leased(store, name, holders)
    again = Store(store.root)  # the agent, started again
    again.sweep()
    with pytest.raises(CacheError, match="in use"):
        again.remove(name)
    assert again.verify(name) == []


def test_a_killed_holder_leaves_no_lease(store: Store, holders: list[subprocess.Popen[bytes]]) -> None:
    name = published(store)
    process = leased(store, name, holders)
    assert lease.is_leased(store.root, name)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert not lease.is_leased(store.root, name)
    store.remove(name)


def test_a_lease_is_not_inherited_by_a_program_that_is_started(store: Store) -> None:
    name = published(store)
    descriptor = lease.take(store.root, name)
    assert os.get_inheritable(descriptor) is False
    lease.release(descriptor)


def test_no_lease_on_what_is_being_removed(store: Store) -> None:
    name = published(store)
    remover = lease.lock(store.root, name, fcntl.LOCK_EX)
    assert remover is not None
    with pytest.raises(CacheError, match="being removed"):
        lease.take(store.root, name)
    lease.release(remover)


def test_no_lease_on_what_is_not_there_and_nothing_is_left_of_the_try(store: Store) -> None:
    with pytest.raises(CacheError, match="no checkpoint"):
        lease.take(store.root, "0" * 32)
    assert os.listdir(layout.leases(store.root)) == []


@pytest.mark.parametrize("name", ["../../../../etc/passwd", "", "a/b", "..", "A" * 32, "0" * 31 + "\n"])
def test_a_name_from_outside_is_never_a_path(store: Store, name: str) -> None:
    with pytest.raises(CacheError, match="expected a checkpoint's id"):
        lease.take(store.root, name)


def test_a_lock_on_a_file_that_was_replaced_meanwhile_is_none(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The remover unlinks the lock file between our open and our flock, and it is published again."""
    name = published(store)
    path = layout.lease(store.root, name)
    locks: list[int] = []
    flock = fcntl.flock

    def replaced_before(descriptor: int, operation: int) -> None:
        if not locks:
            os.unlink(path)
            with open(path, "wb"):
                pass
        locks.append(os.fstat(descriptor).st_ino)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", replaced_before)
    descriptor = lease.take(store.root, name)
    monkeypatch.undo()
    assert len(locks) == 2
    assert os.fstat(descriptor).st_ino == os.stat(path).st_ino
    with pytest.raises(CacheError, match="in use"):
        store.remove(name)
    lease.release(descriptor)


def test_taking_a_lease_notes_the_use(store: Store) -> None:
    name = published(store)
    os.utime(layout.lease(store.root, name), (5, 5))
    assert store.last_used(name) == 5
    lease.release(lease.take(store.root, name))
    assert store.last_used(name) > 5


def test_asking_whether_it_is_leased_notes_no_use(store: Store) -> None:
    name = published(store)
    os.utime(layout.lease(store.root, name), (5, 5))
    assert not lease.is_leased(store.root, name)
    assert store.last_used(name) == 5


def test_the_runtimes_modules_import_the_standard_library_alone() -> None:
    code = (
        "import sys; before = set(sys.modules);"
        "import glowplug.cache.lease, glowplug.cache.check;"
        "ours = set(sys.modules) - before;"
        "bad = [m for m in ours if m.partition('.')[0] not in sys.stdlib_module_names | {'glowplug'}];"
        "dear = ours & {'pathlib', 'subprocess', 'dataclasses', 'typing', 'argparse', 'logging', 'ctypes'};"
        "sys.exit(f'{bad} {dear}' if bad or dear else 0)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
