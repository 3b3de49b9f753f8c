"""Changed pages of read-only mappings of files, written by force: what a restore does about them before CRIU.

A write by force (calls.force_process) may be forbidden on a node, and which nodes restore a checkpoint is not known at
its capture. So CRIU's images have these pages too, and the capture (read_only.py) puts beside them
    pagemap-<pid>.img.rest    without these pages, and with a pages file of its own
    extents.json, runs        where these pages are in the pages files of the images

Used by the runtime: standard library only.
"""

import os

from glowplug import paths
from glowplug.criu import images
from glowplug.errors import ImageError

REST = ".rest"


def leave_out(images_dir: str, into: str) -> bool:
    """Have CRIU leave these pages to us, if this node lets us write them; whether it does and there are any.

    into: the restore's own directory, before `images.link_rest`. If True, a fill has to write the extents of
    images_dir: CRIU then restores the files' own pages there. Raises ImageError.
    """
    try:
        found = [name for name in os.listdir(images_dir) if name.endswith(REST)]
        if not found:
            return False
        from glowplug.criu import calls  # of use to large checkpoints alone

        if not calls.forces_writes() or os.path.exists(paths.no_force()):
            return False
        for name in found:
            os.symlink(f"{images.STORED}/{name}", f"{into}/{name.removesuffix(REST)}")
    except OSError as error:
        raise ImageError(f"images can't be linked: {error.strerror}") from error
    return True


def refused() -> None:
    """Note, until the node's next start, that its processes take no write by force: CRIU restores all of them then."""
    try:
        with open(paths.no_force(), "w"):
            pass
    except OSError:
        return  # the next restore finds it out again
