"""Volumes that a container carries: replaced or filled, and brought back as they were."""

import os
import struct
from collections.abc import Iterator

import pytest
from tests.layer_made import listing, needs_root

from glowplug.errors import LayerError
from glowplug.layer import carried, syscalls

pytestmark = needs_root

MIB = 1 << 20


class Volumes:
    """A volume of the captured container, and the same of the new one."""

    def __init__(self, place: str) -> None:
        self.old, self.new, self.dest, self.record = (
            f"{place}/{name}" for name in ("old", "new", "dest", "record")
        )
        os.makedirs(f"{self.old}/sub")
        os.makedirs(self.new, mode=0o755)
        with open(f"{self.old}/sub/file", "w") as file:
            file.write("database")
        os.symlink("sub/file", f"{self.old}/link")
        os.mkfifo(f"{self.old}/fifo")
        os.chown(self.old, 999, 999)
        os.chmod(self.old, 0o2700)
        os.setxattr(self.old, "user.mark", b"1")
        os.utime(self.old, ns=(1, 2_000_000_001))


@pytest.fixture
def volumes(tmp_path: object) -> Volumes:
    return Volumes(str(tmp_path))


@pytest.fixture
def mounted(volumes: Volumes) -> Iterator[Volumes]:
    """The new volume is a small tmpfs, as an emptyDir of medium Memory is."""
    syscalls.mount("tmpfs", volumes.new, "tmpfs", 0, "size=64k,mode=0777")
    yield volumes
    syscalls.umount2(volumes.new, 0)


def test_capture_has_a_limit(volumes: Volumes) -> None:
    with open(f"{volumes.old}/big", "wb") as file:
        file.write(os.urandom(2 * MIB))
    with pytest.raises(LayerError, match=f"at most {MIB} are carried"):
        carried.capture(volumes.old, volumes.dest, MIB)
    assert not os.path.exists(volumes.dest)
    assert carried.capture(volumes.old, volumes.dest, 4 * MIB).bytes >= 2 * MIB


def test_an_image_volume_is_replaced_and_brought_back(volumes: Volumes) -> None:
    with open(f"{volumes.new}/from the image", "w") as file:
        file.write("x")
    before, inode = listing(volumes.new), os.stat(volumes.new).st_ino
    summary = carried.capture(volumes.old, volumes.dest, MIB)
    carried.apply(volumes.dest, volumes.new, volumes.record, replace=True, fingerprint=summary.fingerprint)
    assert listing(volumes.new) == listing(volumes.old)
    carried.undo(volumes.record)
    assert (listing(volumes.new), os.stat(volumes.new).st_ino) == (before, inode)
    carried.apply(volumes.dest, volumes.new, volumes.record, replace=True)
    carried.finish(volumes.record)
    carried.undo(volumes.record)
    assert listing(volumes.new) == listing(volumes.old)
    assert sorted(os.listdir(os.path.dirname(volumes.new))) == ["dest", "new", "old"]


def test_an_empty_dir_is_filled_where_it_is(mounted: Volumes) -> None:
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *entry) for entry in [(1, 7, 2**32 - 1), (4, 5, 2**32 - 1), (32, 5, 2**32 - 1)]
    )
    os.setxattr(mounted.new, "system.posix_acl_default", acl)
    os.utime(mounted.new, ns=(3, 3_000_000_003))
    before, inode = listing(mounted.new), os.stat(mounted.new).st_ino
    carried.capture(mounted.old, mounted.dest, MIB)
    carried.apply(mounted.dest, mounted.new, mounted.record, replace=False)
    assert listing(mounted.new) == listing(mounted.old)
    assert os.stat(mounted.new).st_ino == inode
    carried.undo(mounted.record)
    carried.undo(mounted.record)
    assert listing(mounted.new) == before
    carried.apply(mounted.dest, mounted.new, mounted.record, replace=False)
    carried.finish(mounted.record)
    carried.undo(mounted.record)
    assert listing(mounted.new) == listing(mounted.old)


def test_what_another_container_put_beside_survives_the_undo(mounted: Volumes) -> None:
    carried.capture(mounted.old, mounted.dest, MIB)
    carried.apply(mounted.dest, mounted.new, mounted.record, replace=False)
    with open(f"{mounted.new}/sidecar's", "w") as file:
        file.write("x")
    carried.undo(mounted.record)
    assert os.listdir(mounted.new) == ["sidecar's"]


def test_a_used_empty_dir_is_refused(mounted: Volumes) -> None:
    carried.capture(mounted.old, mounted.dest, MIB)
    with open(f"{mounted.new}/of an init container", "w") as file:
        file.write("x")
    before = listing(mounted.new)
    with pytest.raises(LayerError, match="not empty"):
        carried.apply(mounted.dest, mounted.new, mounted.record, replace=False)
    assert listing(mounted.new) == before
    assert not os.path.exists(mounted.record)


def test_a_full_volume_is_left_as_it_was(mounted: Volumes) -> None:
    with open(f"{mounted.old}/big", "wb") as file:
        file.write(b"x" * 100_000)
    carried.capture(mounted.old, mounted.dest, MIB)
    before = listing(mounted.new)
    with pytest.raises(LayerError, match="No space left"):
        carried.apply(mounted.dest, mounted.new, mounted.record, replace=False)
    assert listing(mounted.new) == before
    assert not os.path.exists(mounted.record)


@pytest.mark.parametrize("replace", [True, False])
def test_a_damaged_volume_is_refused(volumes: Volumes, replace: bool) -> None:
    summary = carried.capture(volumes.old, volumes.dest, MIB)
    os.truncate(f"{volumes.dest}/sub/file", 1)
    before = listing(volumes.new)
    with pytest.raises(LayerError, match="damaged"):
        carried.apply(
            volumes.dest, volumes.new, volumes.record, replace=replace, fingerprint=summary.fingerprint
        )
    assert listing(volumes.new) == before


def test_a_volume_that_is_gone(volumes: Volumes, tmp_path: object) -> None:
    carried.capture(volumes.old, volumes.dest, MIB)
    carried.apply(volumes.dest, volumes.new, volumes.record, replace=False)
    os.rename(volumes.new, f"{tmp_path}/removed with the pod")
    carried.undo(volumes.record)
    assert not os.path.exists(volumes.record)
    with pytest.raises(LayerError, match="can't put the volume"):
        carried.apply(volumes.dest, volumes.new, volumes.record, replace=False)
    with pytest.raises(LayerError):
        carried.apply(volumes.dest, volumes.new, volumes.record, replace=True)
    with pytest.raises(LayerError, match="can't read the volume"):
        carried.capture(f"{tmp_path}/never", f"{tmp_path}/dest2", MIB)
