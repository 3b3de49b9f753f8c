"""A captured writable layer looks, through a mounted overlay, like the one it was captured from."""

import os
import socket
import stat
import struct
import subprocess
from collections.abc import Iterator

import pytest
from tests.layer_made import listing
from tests.layer_tree.made import Round

from glowplug.errors import LayerError
from glowplug.layer import overlay, tree

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


def everything(root: str) -> None:
    """At least one of all that a layer can contain."""
    with open(f"{root}/a/a", "a") as file:
        file.write("changed")
    os.unlink(f"{root}/a/b/a")
    subprocess.run(["rm", "-r", f"{root}/c"], check=True)
    os.mkdir(f"{root}/c", 0o1777)
    os.chmod(f"{root}/c", 0o3777)
    with open(f"{root}/c/new", "w") as file:
        file.write("in an opaque directory")
    os.chown(f"{root}/c/new", 1000, 1001)
    os.chmod(f"{root}/c/new", 0o6751)
    os.setxattr(f"{root}/c/new", "security.capability", CAPABILITY)
    os.setxattr(f"{root}/c/new", "user.mark", b"\0\xff")
    os.setxattr(f"{root}/a", "trusted.mark", b"1")
    os.link(f"{root}/c/new", f"{root}/a/zz hard link")
    os.symlink("/nowhere", f"{root}/c/link")
    os.lchown(f"{root}/c/link", 7, 8)
    os.link(f"{root}/c/link", f"{root}/c/link2", follow_symlinks=False)
    os.utime(f"{root}/c/link", ns=(1, 1_234_567_891), follow_symlinks=False)
    os.mkfifo(f"{root}/c/fifo", 0o620)
    os.mknod(f"{root}/c/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(f"{root}/c/disk", 0o600 | stat.S_IFBLK, os.makedev(7, 255))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"{root}/c/sock")
    os.chmod(f"{root}/c/sock", 0o707)
    with open(os.fsencode(root) + b"/c/no \xff\xfe utf-8\n", "wb") as raw:
        raw.write(b"name")
    os.utime(f"{root}/c/new", ns=(5, 987_654_321_123_456_789))
    os.utime(f"{root}/c", ns=(5, 1_000_000_001))
    os.utime(root, ns=(5, 1_000_000_007))


def test_everything_comes_back(round_: Round) -> None:
    summary = round_.change(everything)
    assert round_.restored(summary) == round_.wanted
    assert summary.entries == sum(len(ds) + len(fs) for _, ds, fs in os.walk(round_.dest))


def test_the_copy_is_checked_by_eye_too(round_: Round) -> None:
    """`listing` compares two of our results; these are looked at one by one."""
    round_.restored(round_.change(everything))
    upper = round_.second.upper
    assert os.lstat(f"{upper}/a/b/a").st_rdev == 0 and stat.S_ISCHR(os.lstat(f"{upper}/a/b/a").st_mode)
    assert os.getxattr(f"{upper}/c", "trusted.overlay.opaque") == b"y"
    new = os.lstat(f"{upper}/c/new")
    assert (stat.S_IMODE(new.st_mode), new.st_uid, new.st_gid, new.st_nlink) == (0o6751, 1000, 1001, 2)
    assert os.getxattr(f"{upper}/c/new", "security.capability") == CAPABILITY
    assert new.st_mtime_ns == 987_654_321_123_456_789
    assert os.lstat(f"{upper}/c").st_mtime_ns == 1_000_000_001
    assert os.lstat(f"{upper}/c/link").st_nlink == 2
    assert stat.S_ISSOCK(os.lstat(f"{upper}/c/sock").st_mode)


def test_what_belongs_to_the_old_node_stays_there(round_: Round) -> None:
    with round_.first:
        everything(round_.first.merged)
        stale = set(_overlay_attributes(round_.first.upper))
        tree.capture(round_.first.upper, round_.dest)
    assert {"trusted.overlay.origin", "trusted.overlay.impure"} < stale
    assert set(_overlay_attributes(round_.dest)) == {"trusted.overlay.opaque"}


def _overlay_attributes(root: str) -> Iterator[str]:
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            found = os.listxattr(os.path.join(directory, name), follow_symlinks=False)
            yield from (attribute for attribute in found if attribute.startswith("trusted.overlay."))


def test_renamed_directory_and_changed_metadata_only(tmp_path: object) -> None:
    """With redirect_dir and metacopy, upper entries point down: they are carried, and read as before."""
    made = Round(str(tmp_path), "index=off,metacopy=on,redirect_dir=on")

    def work(root: str) -> None:
        os.rename(f"{root}/a", f"{root}/moved")
        os.chmod(f"{root}/c/a/b", 0o600)

    summary = made.change(work)
    assert summary.features == (overlay.METACOPY, overlay.REDIRECT)
    assert made.restored(summary) == made.wanted


def test_a_layer_is_refused_where_the_mount_lacks_its_features(tmp_path: object) -> None:
    made = Round(str(tmp_path), "index=off,metacopy=on,redirect_dir=on")
    made.change(lambda root: os.chmod(f"{root}/c/a/b", 0o600))
    with pytest.raises(LayerError, match="metacopy"):
        tree.apply(made.dest, made.second.upper, made.record, features={overlay.REDIRECT})
    assert sorted(os.listdir(f"{tmp_path}/2")) == ["fs", "merged", "work"]


def test_sparse_files_stay_sparse(round_: Round) -> None:
    def work(root: str) -> None:
        with open(f"{root}/sparse", "wb") as file:
            file.seek(3 << 30)
            file.write(b"middle")
            file.truncate(5 << 30)
        with open(f"{root}/hole", "wb") as file:
            file.truncate(1 << 30)

    with round_.first:
        work(round_.first.merged)
        summary = tree.capture(round_.first.upper, round_.dest)
    assert summary.bytes < 1 << 20
    assert tree.size_of(round_.dest) < 1 << 20
    with open(f"{round_.dest}/sparse", "rb") as file:
        file.seek((3 << 30) - 1)
        assert file.read(8) == b"\0middle\0"
    assert os.lstat(f"{round_.dest}/sparse").st_size == 5 << 30
    assert os.lstat(f"{round_.dest}/hole").st_size == 1 << 30


def test_deeper_than_any_limit(round_: Round) -> None:
    """Deeper than PATH_MAX, Python's stack and the limit of open files; with hard links down there."""
    depth = 1500

    def work(root: str) -> None:
        fd = os.open(root, os.O_RDONLY)
        for level in range(depth):
            os.mkdir("d" * 30, dir_fd=fd)
            below = os.open("d" * 30, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
            if level in (700, depth - 1):
                os.close(os.open("a file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
                os.link("a file", "another", src_dir_fd=fd, dst_dir_fd=fd)
        os.close(fd)

    try:
        with round_.first:
            work(round_.first.merged)
            summary = tree.capture(round_.first.upper, round_.dest)
        assert summary.entries == depth + 4
        tree.apply(round_.dest, round_.second.upper, round_.record, fingerprint=summary.fingerprint)
        again = tree.capture(round_.second.upper, round_.dest + "2")
        assert again.fingerprint == summary.fingerprint
        tree.undo(round_.record)
        assert os.listdir(round_.second.upper) == []
    finally:
        # What pytest removes its directories with does not go as deep.
        for path in (round_.first.upper, round_.dest, round_.dest + "2"):
            subprocess.run(["rm", "-rf", path], check=True)


def test_nothing_outside_is_reached_through_symlinks(round_: Round, tmp_path: object) -> None:
    os.mkdir(f"{tmp_path}/outside")

    def work(root: str) -> None:
        subprocess.run(["rm", "-r", f"{root}/a"], check=True)
        os.symlink(f"{tmp_path}/outside", f"{root}/a")

    summary = round_.change(work)
    os.makedirs(f"{round_.second.upper}/a/b")
    assert round_.restored(summary) == round_.wanted
    assert os.listdir(f"{tmp_path}/outside") == []


def test_what_the_new_upper_directory_has_is_merged(round_: Round) -> None:
    """The captured entry wins; a mount point that only the new container has stays."""

    def work(root: str) -> None:
        os.mkdir(f"{root}/etc")
        with open(f"{root}/etc/hosts", "w") as file:
            file.write("captured")
        with open(f"{root}/was-a-directory", "w") as file:
            file.write("now a file")
        os.mkdir(f"{root}/was-a-file", 0o750)

    summary = round_.change(work)
    upper = round_.second.upper
    os.makedirs(f"{upper}/etc/only/here")
    os.makedirs(f"{upper}/was-a-directory/with/some")
    for name in ("etc/hosts", "was-a-file", "etc/only/file"):
        with open(f"{upper}/{name}", "w") as file:
            file.write("the new pod's")
    os.setxattr(f"{upper}/etc", "user.mark", b"the new pod's")
    with round_.second:
        pass  # the kernel marks an upper directory that it mounts
    before = listing(upper)
    shown = round_.restored(summary)
    assert {path: shown[path] for path in round_.wanted} == round_.wanted
    assert shown.keys() - round_.wanted.keys() == {b"etc/only", b"etc/only/here", b"etc/only/file"}
    tree.undo(round_.record)
    assert listing(upper) == before


def test_inherited_acls_do_not_creep_in(round_: Round, tmp_path: object) -> None:
    """A default ACL above the new place passes to what is made there, unless it is taken away first."""
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *entry)
        for entry in [
            (1, 7, 2**32 - 1),
            (2, 7, 1234),
            (4, 5, 2**32 - 1),
            (16, 7, 2**32 - 1),
            (32, 5, 2**32 - 1),
        ]
    )

    def work(root: str) -> None:
        everything(root)
        os.mkdir(f"{root}/c/shared")
        os.setxattr(f"{root}/c/shared", "system.posix_acl_default", acl)
        os.setxattr(f"{root}/c/fifo", "system.posix_acl_access", acl)

    os.setxattr(f"{tmp_path}/2", "system.posix_acl_default", acl)
    os.setxattr(f"{tmp_path}", "system.posix_acl_default", acl)
    assert round_.restored(round_.change(work)) == round_.wanted


def test_the_filesystem_keeps_its_identity(round_: Round) -> None:
    """statfs(2) in the container shows the same fsid before and after."""
    summary = round_.change(everything)
    with round_.second:
        before = os.statvfs(round_.second.merged).f_fsid
        mount = overlay.find(round_.second.merged)
        with overlay.Unmounted(mount):
            tree.apply(round_.dest, mount.upperdir, round_.record, features=mount.features)
        assert os.statvfs(round_.second.merged).f_fsid == before
    assert summary.entries > 0


def test_a_damaged_tree_is_refused(round_: Round, tmp_path: object) -> None:
    summary = round_.change(everything)

    def truncate() -> None:
        os.truncate(f"{round_.dest}/a/a", 3)

    def lose() -> None:
        os.unlink(f"{round_.dest}/a/b/a")

    def loosen() -> None:
        os.chmod(f"{round_.dest}/c/fifo", 0o777)

    for damage in (truncate, lose, loosen):
        damage()
        with pytest.raises(LayerError, match="damaged"):
            tree.apply(round_.dest, round_.second.upper, round_.record, fingerprint=summary.fingerprint)
        assert sorted(os.listdir(f"{tmp_path}/2")) == ["fs", "merged", "work"]
        assert os.listdir(round_.second.upper) == []
        assert not os.path.exists(round_.record)


def test_a_mounted_layer_is_not_touched(round_: Round) -> None:
    summary = round_.change(everything)
    with round_.second, pytest.raises(LayerError, match="unmount it first"):
        tree.apply(round_.dest, round_.second.upper, round_.record)
    round_.restored(summary)
    with round_.second, pytest.raises(LayerError, match="unmount it first"):
        tree.undo(round_.record)


def test_capture_needs_a_new_directory(round_: Round, tmp_path: object) -> None:
    os.mkdir(round_.dest)
    with pytest.raises(LayerError, match="File exists"):
        tree.capture(round_.first.upper, round_.dest)
    assert os.path.isdir(round_.dest)
    with pytest.raises(LayerError, match="No such file"):
        tree.capture(f"{tmp_path}/none", f"{tmp_path}/new")
    assert not os.path.exists(f"{tmp_path}/new")


def test_size_counts_each_inode_once(round_: Round) -> None:
    os.mkdir(round_.dest)
    empty = tree.size_of(round_.dest)
    with open(f"{round_.dest}/file", "wb") as file:
        file.write(b"x" * (1 << 20))
        os.fsync(file.fileno())
    os.link(f"{round_.dest}/file", f"{round_.dest}/again")
    assert tree.size_of(round_.dest) - empty == 1 << 20
