"""Sizes of files on volumes in CRIU's images: CRIU restores no file that has another size than at the dump.

That is right for what a checkpoint carries and for what is mapped, where another size means another content under the
process's feet. A file on a volume of its own that is only read (a log that is followed) grows, as it would under a
process that was stopped for a while: its size is left out, and then CRIU compares none (files-reg.c, validate_file).
"""

from collections.abc import Collection

from glowplug.criu import images, layout

# images/regfile.proto, fdinfo.proto, vma.proto, mm.proto
_FILE_REG, _ID, _NAME, _SIZE = 3, 1, 6, 8
_VMA_FILE, _MM_EXECUTABLE = 4, 12


def apply(images_dir: str, volumes: Collection[str]) -> int:
    """Leave out the sizes of files below these mount points that are open and not mapped; how many were.

    volumes: of volumes that do not travel. Called once on a fresh dump. Raises ImageError.
    """
    if not volumes:
        return 0
    exact = {volume.rstrip("/").encode() for volume in volumes}
    points = tuple(point + b"/" for point in exact)
    mapped = _mapped(images_dir)
    entries = images.load(images_dir, "files.img", "files")
    changed = 0
    for entry in entries:
        file = entry.message(_FILE_REG)
        if file is None or file.integer(_SIZE) is None or file.integer(_ID) in mapped:
            continue
        name = file.octets(_NAME) or b""
        if name in exact or name.startswith(points):
            file.remove(_SIZE)
            entry.put_message(_FILE_REG, file)
            changed += 1
    if changed:
        images.store(images_dir, "files.img", "files", entries)
    return changed


def _mapped(images_dir: str) -> set[int]:
    """Numbers of files that some process has mapped or runs."""
    found = set()
    for _, name in images.names(images_dir, "mm"):
        for mm in images.load(images_dir, name, "mm"):
            found.add(mm.integer(_MM_EXECUTABLE) or 0)
            found.update(vma.integer(_VMA_FILE) or 0 for vma in mm.messages(layout.MM_VMAS))
    return found
