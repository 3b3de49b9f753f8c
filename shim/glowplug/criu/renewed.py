"""Files that processes hold in ConfigMaps and the like, by the name that they have in every pod.

The kubelet keeps such a volume's files in a directory named by the moment, behind a link `..data` (kubelet,
atomic_writer.go). The kernel tells CRIU the name through that directory, which no other pod has: a shell, say,
holds the script that it runs. Through the link the new pod's file is found, which is the same by its content.
"""

from collections.abc import Collection

from glowplug.criu import images

# images/regfile.proto, fdinfo.proto
_FILE_REG, _NAME = 3, 6
_LINK = b"..data"


def name_by_link(images_dir: str, volumes: Collection[str]) -> int:
    """Rename the files of these mount points in files.img; how many were. Called once on a fresh dump.

    volumes: mount points in the container, of volumes that a kubelet writes. Raises ImageError.
    """
    if not volumes:
        return 0
    entries = images.load(images_dir, "files.img", "files")
    changed = 0
    for entry in entries:
        file = entry.message(_FILE_REG)
        name = (file and file.octets(_NAME)) or b""
        renamed = _by_link(name, volumes)
        if file is not None and renamed != name:
            file.put_octets(_NAME, renamed)
            entry.put_message(_FILE_REG, file)
            changed += 1
    if changed:
        images.store(images_dir, "files.img", "files", entries)
    return changed


def _by_link(name: bytes, volumes: Collection[str]) -> bytes:
    """`/etc/app/..2026_11_22/a.conf` as `/etc/app/..data/a.conf`; any other name as it is."""
    for volume in volumes:
        point = volume.rstrip("/").encode() + b"/"
        moment, separator, rest = name.removeprefix(point).partition(b"/")
        if name.startswith(point) and separator and moment.startswith(b"..") and moment != b"..":
            return point + _LINK + b"/" + rest
    return name
