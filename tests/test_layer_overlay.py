"""An overlay is taken away and put back with the same options, or not touched at all."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.layer_made import Overlay, mountinfo_lines, needs_root

from glowplug.errors import LayerError
from glowplug.layer import mountinfo, overlay, syscalls


@pytest.fixture
def mounted(tmp_path: os.PathLike[str]) -> Iterator[list[str]]:
    """Targets to unmount afterwards, whatever is mounted there by then."""
    targets: list[str] = []
    yield targets
    for target in targets:
        while mountinfo_lines(target):
            syscalls.umount2(target, 0)


def line(options: str, mount_options: str = "rw,relatime") -> mountinfo.Mount:
    return mountinfo.Mount(f"36 35 0:40 / /x {mount_options} shared:1 - overlay overlay {options}\n".encode())


OPTIONS = [
    "index=off",
    "index=off,metacopy=on,redirect_dir=on",
    "index=off,xino=on",
    "index=off,xino=off",
    "index=off,userxattr",
    "index=off,volatile",
    "index=off,uuid=null",
    "index=off,redirect_dir=nofollow",
    "default_permissions,index=off",
]


@needs_root
@pytest.mark.parametrize("options", OPTIONS)
def test_remount_shows_the_same(tmp_path: object, mounted: list[str], options: str) -> None:
    made = Overlay(f"{tmp_path}/snapshot", f"{tmp_path}/lower", options)
    mounted.append(made.merged)
    made.mount()
    before = mountinfo_lines(made.merged)
    mount = overlay.find(made.merged)
    overlay.unmount(mount)
    assert mountinfo_lines(made.merged) == []
    overlay.remount(mount)
    assert mountinfo_lines(made.merged) == before


@needs_root
@pytest.mark.parametrize("options", OPTIONS)
def test_another_process_can_mount_it_again(tmp_path: object, mounted: list[str], options: str) -> None:
    """After a runtime that was killed while the overlay was unmounted: from the recipe's JSON alone."""
    made = Overlay(f"{tmp_path}/snapshot", f"{tmp_path}/lower", options)
    mounted.append(made.merged)
    made.mount()
    before = mountinfo_lines(made.merged)
    mount = overlay.find(made.merged)
    overlay.unmount(mount)
    overlay.mount_again(json.loads(json.dumps(mount.recipe())))
    assert mountinfo_lines(made.merged) == before


@needs_root
@pytest.mark.parametrize(
    "flags",
    [
        syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC,
        syscalls.MS_NOATIME | syscalls.MS_NODIRATIME,
        syscalls.MS_STRICTATIME,
        syscalls.MS_RDONLY,
        syscalls.MS_NOSYMFOLLOW | syscalls.MS_SYNCHRONOUS,
    ],
)
def test_remount_keeps_the_mount_flags(tmp_path: object, mounted: list[str], flags: int) -> None:
    made = Overlay(f"{tmp_path}/snapshot", f"{tmp_path}/lower")
    mounted.append(made.merged)
    data = f"lowerdir={made.lower},upperdir={made.upper},workdir={made.work}"
    syscalls.mount("overlay", made.merged, "overlay", flags, data)
    before = mountinfo_lines(made.merged)
    with overlay.Unmounted(overlay.find(made.merged)):
        assert mountinfo_lines(made.merged) == []
    assert mountinfo_lines(made.merged) == before


@needs_root
def test_paths_with_separators(tmp_path: object, mounted: list[str]) -> None:
    base = f"{tmp_path}/a b,c\\d"
    lowers = [f"{base}/l:1", f"{base}/l2"]
    upper, work, merged = f"{base}/up:per", f"{base}/work", f"{base}/merged\n"
    for path in (*lowers, upper, work, merged):
        os.makedirs(path)
    mounted.append(merged)
    plain = [path.replace("\\", "\\\\").replace(",", "\\,") for path in (*lowers, upper, work)]
    data = "lowerdir={}:{},upperdir={},workdir={}".format(plain[0].replace(":", "\\:"), *plain[1:])
    syscalls.mount("overlay", merged, "overlay", 0, data)
    mount = overlay.find(merged)
    assert (mount.lowerdirs, mount.upperdir, mount.workdir) == (tuple(lowers), upper, work)
    with overlay.Unmounted(mount):
        pass
    assert overlay.find(merged).options == mount.options


@needs_root
def test_rootfs_is_back_after_an_error_in_between(tmp_path: object, mounted: list[str]) -> None:
    made = Overlay(f"{tmp_path}/snapshot", f"{tmp_path}/lower")
    mounted.append(made.merged)
    made.mount()
    before = mountinfo_lines(made.merged)
    with pytest.raises(KeyError), overlay.Unmounted(overlay.find(made.merged)):
        raise KeyError
    assert mountinfo_lines(made.merged) == before


@needs_root
def test_a_rootfs_that_came_back_otherwise_is_an_error(tmp_path: object, mounted: list[str]) -> None:
    made = Overlay(f"{tmp_path}/snapshot", f"{tmp_path}/lower")
    mounted.append(made.merged)
    made.mount()
    mount = overlay.find(made.merged)
    overlay.unmount(mount)
    mount.flags |= syscalls.MS_NOSUID
    with pytest.raises(LayerError, match=r"came back with other options.*nosuid"):
        overlay.remount(mount)


@needs_root
def test_propagation_stays(tmp_path: object, mounted: list[str]) -> None:
    """Below a shared mount, as systemd makes the root, the rootfs is shared before and after."""
    os.mkdir(f"{tmp_path}/shared")
    syscalls.mount("tmpfs", f"{tmp_path}/shared", "tmpfs", 0, "")
    syscalls.mount("", f"{tmp_path}/shared", "", 1 << 20, "")
    made = Overlay(f"{tmp_path}/shared/snapshot", f"{tmp_path}/shared/lower")
    mounted.extend((made.merged, f"{tmp_path}/shared"))
    made.mount()
    with overlay.Unmounted(overlay.find(made.merged)):
        pass
    assert "shared:" in mountinfo_lines(made.merged)[0]


@needs_root
def test_busy_rootfs_stays_mounted(tmp_path: object, mounted: list[str]) -> None:
    made = Overlay(f"{tmp_path}/snapshot", f"{tmp_path}/lower", "index=off,volatile")
    mounted.append(made.merged)
    made.mount()
    before = mountinfo_lines(made.merged)
    opened = os.open(made.merged, os.O_RDONLY)
    try:
        with pytest.raises(LayerError, match="still uses it"):
            overlay.unmount(overlay.find(made.merged))
    finally:
        os.close(opened)
    assert mountinfo_lines(made.merged) == before
    with open(f"{made.merged}/still works", "w") as file:
        file.write("x")


@needs_root
def test_rootfs_that_is_no_single_overlay(tmp_path: object, mounted: list[str]) -> None:
    made = Overlay(f"{tmp_path}/snapshot", f"{tmp_path}/lower")
    mounted.append(made.merged)
    with pytest.raises(LayerError, match="nothing is mounted"):
        overlay.find(made.merged)
    made.mount()
    made.upper += "2"
    made.work += "2"
    os.mkdir(made.upper)
    os.mkdir(made.work)
    made.mount()
    with pytest.raises(LayerError, match="mounts are stacked"):
        overlay.find(made.merged)
    made.unmount()
    made.unmount()
    syscalls.mount("tmpfs", made.merged, "tmpfs", 0, "")
    with pytest.raises(LayerError, match="mount of tmpfs"):
        overlay.find(made.merged)


@needs_root
def test_index_is_refused(tmp_path: object, mounted: list[str]) -> None:
    made = Overlay(f"{tmp_path}/snapshot", f"{tmp_path}/lower", "index=on")
    mounted.append(made.merged)
    made.mount()
    with pytest.raises(LayerError, match="index=on"):
        overlay.find(made.merged)


@needs_root
def test_relative_lower_directories_are_refused(
    tmp_path: object, mounted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """containerd changes into the common directory when the option string would be too long."""
    made = Overlay(f"{tmp_path}/snapshot", f"{tmp_path}/lower")
    mounted.append(made.merged)
    made.lower = "lower"
    monkeypatch.chdir(str(tmp_path))
    made.mount()
    with pytest.raises(LayerError, match="relative lower directory"):
        overlay.find(made.merged)


@needs_root
def test_features_of_a_mount(tmp_path: object, mounted: list[str]) -> None:
    wanted = {
        "index=off,metacopy=on,redirect_dir=on": {overlay.METACOPY, overlay.REDIRECT},
        "index=off,metacopy=off,redirect_dir=on": {overlay.REDIRECT},
        "index=off,metacopy=off,redirect_dir=nofollow": set(),
    }
    for number, (options, features) in enumerate(wanted.items()):
        made = Overlay(f"{tmp_path}/{number}", f"{tmp_path}/lower", options)
        mounted.append(made.merged)
        made.mount()
        assert overlay.find(made.merged).features == features


@needs_root
def test_a_mounted_upper_directory_is_known(tmp_path: object, mounted: list[str]) -> None:
    made = Overlay(f"{tmp_path}/snap,shot", f"{tmp_path}/lower")
    mounted.append(made.merged)
    overlay.refuse_mounted(made.upper)
    upper, made.upper = made.upper, made.upper.replace(",", "\\,")
    made.work = made.work.replace(",", "\\,")
    made.mount()
    with pytest.raises(LayerError, match="unmount it first"):
        overlay.refuse_mounted(upper)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (line("rw,lowerdir=/,upperdir=/,workdir=/,frobnicate=1"), "frobnicate"),
        (line("rw,lowerdir+=/,upperdir=/,workdir=/"), "lowerdir+"),
        (line("rw,lowerdir=/,upperdir=/,workdir=/", "rw,idmapped"), "idmapped"),
        (line("rw,lowerdir=/,upperdir=/,workdir=/", "ro,relatime"), "read-only"),
        (line("rw,lowerdir=/", "rw,relatime"), "upperdir"),
        (line("rw,lowerdir=/::/,upperdir=/,workdir=/"), "relative"),
        (line("rw,lowerdir=/not/there,upperdir=/,workdir=/"), "not there"),
        (
            line("rw,lowerdir=" + ":".join(["/usr"] * 1000) + ",upperdir=/,workdir=/"),
            "mount\\(2\\) takes 4095",
        ),
        (line("rw,lowerdir=/,upperdir=/,workdir=/,nfs_export=on"), "nfs_export=on"),
    ],
)
def test_what_cannot_be_put_back_is_refused(found: mountinfo.Mount, reason: str) -> None:
    with pytest.raises(LayerError, match=reason.replace("+", "\\+")):
        overlay.OverlayMount(found)


def test_what_selinux_and_some_kernels_show() -> None:
    """A quoted context goes back as it is; flags that only describe the mount are not options."""
    context = 'context="system_u:object_r:container_file_t:s0:c1,c2"'
    found = line(f"rw,seclabel,{context},lowerdir=/,upperdir=/,workdir=/,nouserxattr")
    assert overlay.OverlayMount(found).options == f"{context},lowerdir=/,upperdir=/,workdir=/"


def test_octal_escapes_are_undone_once() -> None:
    assert mountinfo.unescape(rb"a\040b\134054\011") == "a b\\054\t"
    assert mountinfo.unescape(b"\xff\\134") == "\udcff\\"


def test_a_long_list_of_layers_is_mounted_from_within_their_directory(tmp_path: Path) -> None:
    """As containerd does it where the list takes more than a page."""
    snapshots = tmp_path / "snapshots"
    for number in range(1, 81):
        (snapshots / str(number) / "fs").mkdir(parents=True)
        (snapshots / str(number) / "fs" / f"from-{number}").touch()
    for name in ("99/fs", "99/work", "rootfs"):
        (snapshots / name).mkdir(parents=True)
    rootfs, here = str(snapshots / "rootfs"), os.getcwd()
    lower = ":".join(f"{number}/fs" for number in range(80, 0, -1))
    data = f"lowerdir={lower},upperdir={snapshots}/99/fs,workdir={snapshots}/99/work,index=off"
    syscalls.mount_from(str(snapshots), "overlay", rootfs, "overlay", 0, data)
    try:
        found = overlay.of_upper(str(snapshots / "99/fs"))
        assert found is not None and found.directory == str(snapshots)
        assert found.lowerdirs[0] == f"{snapshots}/80/fs" and len(found.lowerdirs) == 80
        with overlay.Unmounted(found):
            (snapshots / "99/fs/mine").touch()
        assert sorted(os.listdir(rootfs)) == sorted([*(f"from-{number}" for number in range(1, 81)), "mine"])
        assert os.getcwd() == here
        assert "99/fs" not in lower and overlay.of_upper(str(snapshots / "80/fs")) is None
    finally:
        syscalls.umount2(rootfs, 0)


@pytest.mark.parametrize("lower", ["a/fs", "1/fs:/usr", "../1/fs", "1/fs/..", "1"])
def test_another_relative_layer_is_none_of_containerds(lower: str, tmp_path: Path) -> None:
    """Where it begins can't be known."""
    for name in ("9/fs", "9/work", "1/fs", "a/fs"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(LayerError, match="relative lower directory"):
        overlay.OverlayMount(line(f"rw,lowerdir={lower},upperdir={tmp_path}/9/fs,workdir={tmp_path}/9/work"))
