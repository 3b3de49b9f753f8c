"""The overlay mount of a container's rootfs: found, taken away, and put back as it was.

containerd's shim has mounted it before `create`, and unmounts it after `delete`. Changes made in an upper
directory under a mounted overlay are not seen (kernel doc filesystems/overlayfs.rst, "Changes to underlying
filesystems"), so the layer is applied and undone in between. What a mount needs in order to be put back is
read from mountinfo; an option that is not known here is refused while nothing has been changed yet.
"""

import errno
import os

from glowplug.errors import LayerError
from glowplug.layer import descent, mountinfo, syscalls

METACOPY = "metacopy"
REDIRECT = "redirect_dir"

_PARAMETERS = "/sys/module/overlay/parameters"

_FLAGS = {
    b"rw": 0,
    b"ro": syscalls.MS_RDONLY,
    b"nosuid": syscalls.MS_NOSUID,
    b"nodev": syscalls.MS_NODEV,
    b"noexec": syscalls.MS_NOEXEC,
    b"noatime": syscalls.MS_NOATIME,
    b"nodiratime": syscalls.MS_NODIRATIME,
    b"relatime": syscalls.MS_RELATIME,
    b"nosymfollow": syscalls.MS_NOSYMFOLLOW,
}
_SUPER_FLAGS = {
    b"rw": 0,
    b"ro": syscalls.MS_RDONLY,
    b"sync": syscalls.MS_SYNCHRONOUS,
    b"dirsync": syscalls.MS_DIRSYNC,
    b"mand": syscalls.MS_MANDLOCK,
    b"lazytime": syscalls.MS_LAZYTIME,
}
_KNOWN_OPTIONS = frozenset(
    (
        *("lowerdir", "upperdir", "workdir", "default_permissions", "redirect_dir", "index", "uuid"),
        *("nfs_export", "userxattr", "xino", "metacopy", "verity", "volatile", "fsync"),
        *("override_creds", "nooverride_creds", "context", "fscontext", "defcontext", "rootcontext"),
    )
)
# Shown by some kernels, but facts about the mount and not options of mount(2).
_SHOWN_ONLY = frozenset((b"seclabel", b"nouserxattr"))


Recipe = dict[str, int | str]


class OverlayMount:
    """What mount(2) needs in order to mount the same overlay again, and what it holds."""

    __slots__ = (
        "_shown",
        "directory",
        "features",
        "flags",
        "is_shared",
        "lowerdirs",
        "options",
        "source",
        "target",
        "upperdir",
        "workdir",
    )

    def __init__(self, found: mountinfo.Mount) -> None:
        settings, super_flags = _settings(found)
        self.target = found.target
        self.source = found.source
        self.upperdir = _directory(settings, "upperdir", found.target)
        self.directory, self.lowerdirs = _lowerdirs(settings, found.target, self.upperdir)
        self.workdir = _directory(settings, "workdir", found.target)
        self.flags = _mount_flags(found, super_flags)
        self.options = _option_string(settings, found.target)
        self.features = _features(settings)
        self.is_shared = b"shared" in found.propagation
        self._shown = _shown(found)
        _refuse_index(settings, found.target)

    def recipe(self) -> Recipe:
        """All that `mount_again` needs, as JSON: for the process that has to, should we die meanwhile."""
        return {
            "source": self.source,
            "target": self.target,
            "directory": self.directory,
            "flags": self.flags,
            "options": self.options,
            "workdir": self.workdir,
        }

    def differences(self, found: mountinfo.Mount) -> list[str]:
        """What mountinfo now shows otherwise, as 'was → is'; empty when the mount is the same."""
        pairs = zip(self._shown, _shown(found), strict=True)
        return [f"{was!r} → {now!r}" for was, now in pairs if was != now]


class Unmounted:
    """The time between `unmount` and `remount`, for a with statement: mounted again on every way out."""

    def __init__(self, mount: OverlayMount) -> None:
        self._mount = mount

    def __enter__(self) -> OverlayMount:
        unmount(self._mount)
        return self._mount

    def __exit__(self, *_: object) -> None:
        remount(self._mount)


def find(rootfs: str) -> OverlayMount:
    """The overlay mounted at `rootfs`. LayerError where there is none, or one that can't be put back."""
    return OverlayMount(_found(os.path.realpath(rootfs)))


def of_upper(upper: str) -> OverlayMount | None:
    """The overlay that has `upper` as its upper directory, where this mount namespace shows it.

    LayerError for one that can't be put back.
    """
    for mount in mountinfo.read():
        if mount.fstype == "overlay" and mount.root == "/" and _upper_of(mount) == os.path.realpath(upper):
            return OverlayMount(mount)
    return None


def unmount(mount: OverlayMount) -> None:
    """Unmount it. LayerError when it is busy: then it is still mounted and nothing has changed."""
    try:
        syscalls.umount2(mount.target, syscalls.UMOUNT_NOFOLLOW)
    except OSError as error:
        reason = "a process or another mount still uses it" if error.errno == errno.EBUSY else str(error)
        raise LayerError(f"can't unmount the rootfs {mount.target} to change its layer: {reason}") from error


def remount(mount: OverlayMount) -> None:
    """Mount it again with the same flags and options, and check that mountinfo shows the same as before."""
    mount_again(mount.recipe())
    differences = mount.differences(_found(mount.target))
    if differences:
        raise LayerError(f"the rootfs {mount.target} came back with other options: {'; '.join(differences)}")


def mount_again(recipe: Recipe) -> None:
    """Mount an overlay that was unmounted, by `OverlayMount.recipe`. LayerError where it can't be."""
    target, options = str(recipe["target"]), str(recipe["options"])
    if not {"volatile", "fsync=volatile"}.isdisjoint(options.split(",")):
        _allow_volatile_again(str(recipe["workdir"]))
    try:
        directory = str(recipe.get("directory") or "/")
        syscalls.mount_from(
            directory, str(recipe["source"]), target, "overlay", int(recipe["flags"]), options
        )
    except OSError as error:
        raise LayerError(f"can't mount the rootfs {target} again: {error}") from error


def refuse_mounted(upper: str) -> None:
    """LayerError while an overlay of this mount namespace has `upper` as its upper directory."""
    wanted = os.path.realpath(upper)
    for mount in mountinfo.read():
        if mount.fstype == "overlay" and _upper_of(mount) == wanted:
            raise LayerError(f"the layer {upper} is mounted at {mount.target}: unmount it first")


def _upper_of(mount: mountinfo.Mount) -> str:
    """The real path of its upper directory, "" without one."""
    for option in mount.super_options:
        name, _, value = option.partition(b"=")
        if name == b"upperdir":
            return os.path.realpath(_unescape(mountinfo.unescape(value)))
    return ""


def _found(target: str) -> mountinfo.Mount:
    here = [mount for mount in mountinfo.read() if mount.target == target]
    if not here:
        raise LayerError(f"nothing is mounted at the rootfs {target}: an overlay is needed")
    if len(here) > 1:
        raise LayerError(f"{len(here)} mounts are stacked at {target}: one overlay is needed")
    if here[0].fstype != "overlay" or here[0].root != "/":
        raise LayerError(f"the rootfs {target} is a mount of {here[0].fstype}: a complete overlay is needed")
    return here[0]


def _shown(mount: mountinfo.Mount) -> tuple[object, ...]:
    return mount.options, mount.propagation, mount.source, mount.super_options


def _settings(mount: mountinfo.Mount) -> tuple[dict[str, str | None], int]:
    """The superblock's options by name, octal escapes undone, and those that are flags of mount(2)."""
    settings: dict[str, str | None] = {}
    flags = 0
    for option in mount.super_options:
        name, separator, value = option.partition(b"=")
        if name in _SUPER_FLAGS:
            flags |= _SUPER_FLAGS[name]
        elif os.fsdecode(name) in _KNOWN_OPTIONS:
            settings[os.fsdecode(name)] = mountinfo.unescape(value) if separator else None
        elif name not in _SHOWN_ONLY:
            raise LayerError(
                f"the rootfs {mount.target} has the overlay option {os.fsdecode(name)!r}, "
                "which Glowplug can't promise to mount again"
            )
    return settings, flags


def _mount_flags(mount: mountinfo.Mount, super_flags: int) -> int:
    unknown = [os.fsdecode(option) for option in mount.options if option not in _FLAGS]
    if unknown:
        raise LayerError(f"the rootfs {mount.target} has the mount options {unknown}, unknown to Glowplug")
    if (b"ro" in mount.options) != bool(super_flags & syscalls.MS_RDONLY):
        # mount(2) sets both or none.
        raise LayerError(f"the rootfs {mount.target} is read-only in its mount or its superblock alone")
    flags = super_flags
    for option in mount.options:
        flags |= _FLAGS[option]
    if not flags & (syscalls.MS_RELATIME | syscalls.MS_NOATIME):
        flags |= syscalls.MS_STRICTATIME
    return flags


def _lowerdirs(settings: dict[str, str | None], target: str, upperdir: str) -> tuple[str, tuple[str, ...]]:
    """Where relative ones begin, "" without any, and all of them, absolute.

    containerd mounts a list that is too long for one page (some 50 layers) from within the directory of its
    snapshots, SNAPSHOTS/N/fs (its core/mount, compactLowerdirOption). Nobody shows which that is; but the container's
    own upper directory, which is never shortened, is there too.
    """
    listed = [_unescape(part) for part in _split_unescaped(settings.get("lowerdir") or "", ":")]
    relative = [part for part in listed if not part.startswith("/")]
    base = ""
    if relative:
        snapshots, _, own = upperdir.rpartition("/fs")[0].rpartition("/")
        if own and len(relative) == len(listed) and all(map(_is_snapshot, listed)):
            base = snapshots
        else:
            raise LayerError(f"the rootfs {target} has the relative lower directory {relative[0]!r}")
    lowerdirs = tuple(f"{base}/{part}" if base else part for part in listed)
    for directory in lowerdirs:
        if not os.path.isdir(directory):
            raise LayerError(f"the rootfs {target} has the lower directory {directory!r}, which is not there")
    return base, lowerdirs


def _is_snapshot(path: str) -> bool:
    number, _, rest = path.partition("/")
    return number.isdecimal() and rest == "fs"


def _directory(settings: dict[str, str | None], name: str, target: str) -> str:
    directory = _unescape(settings.get(name) or "")
    if not directory.startswith("/") or not os.path.isdir(directory):
        raise LayerError(f"the rootfs {target} has {directory!r} as {name}: not an absolute path")
    return directory


def _option_string(settings: dict[str, str | None], target: str) -> str:
    options = [
        name if value is None else f"{name}={_escape_commas(value)}" for name, value in settings.items()
    ]
    joined = ",".join(options)
    length = len(os.fsencode(joined))
    if length > syscalls.MOUNT_DATA_MAX:
        raise LayerError(
            f"the rootfs {target} has {length} bytes of options, mount(2) takes {syscalls.MOUNT_DATA_MAX}"
        )
    return joined


def _refuse_index(settings: dict[str, str | None], target: str) -> None:
    """With an index, the kernel binds the work directory to the very inode of the upper directory."""
    for name in ("index", "nfs_export"):
        if (settings.get(name) or _parameter(name)) in ("on", "Y"):
            raise LayerError(
                f"the rootfs {target} is mounted with {name}=on, which ties it to the inode of its "
                "upper directory; containerd mounts with index=off"
            )


def _features(settings: dict[str, str | None]) -> frozenset[str]:
    """What this mount understands of METACOPY and REDIRECT; a layer that uses more reads wrongly in it."""
    features = set()
    if (settings.get("metacopy") or _parameter("metacopy")) in ("on", "Y"):
        features.add(METACOPY)
    redirect = settings.get("redirect_dir") or ("on" if _parameter("redirect_dir") == "Y" else "off")
    # "off" creates no redirects, but follows those that exist unless the administrator says otherwise.
    if redirect in ("on", "follow") or (redirect == "off" and _parameter("redirect_always_follow") == "Y"):
        features.add(REDIRECT)
    return frozenset(features)


def _parameter(name: str) -> str:
    """The overlay module's default, "Y" or "N"; "N" where this kernel has no such parameter."""
    try:
        with open(f"{_PARAMETERS}/{name}", encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return "N"


def _allow_volatile_again(workdir: str) -> None:
    """Remove the mark by which the kernel refuses a volatile upper directory that was mounted before.

    It guards against an upper directory cut short by a crash; this one was unmounted in order.
    """
    try:
        descent.remove(os.path.join(workdir, "work/incompat/volatile"))
    except OSError as error:
        raise LayerError(f"can't remove the mark of a volatile mount: {error}") from error


def _split_unescaped(text: str, separator: str) -> list[str]:
    parts = [""]
    escaped = False
    for character in text:
        if character == separator and not escaped:
            parts.append("")
            continue
        parts[-1] += character
        escaped = character == "\\" and not escaped
    return parts


def _unescape(text: str) -> str:
    """Undo overlay's own escapes in a path option: a backslash before any character."""
    plain = []
    characters = iter(text)
    for character in characters:
        plain.append(next(characters, "") if character == "\\" else character)
    return "".join(plain)


def _escape_commas(value: str) -> str:
    """A bare comma would end the option in mount(2); quoted ones, of an LSM context, are left alone."""
    return value if value.startswith('"') else "\\,".join(_split_unescaped(value, ","))
