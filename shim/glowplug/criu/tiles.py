"""Threads that were dumped in the middle of a calculation with AMX: CRIU leaves the tiles out
(criu/arch/x86/crtools.c), and such a thread would continue with empty ones, or be killed.

Outside of such calculations programs let go of the tiles (TILERELEASE). Field numbers: images/core.proto and
core-x86.proto.
"""

from glowplug.criu import images
from glowplug.criu.images import Message
from glowplug.errors import NotRestorable

_X86, _FPREGS, _XSAVE, _STATE_BV = 2, 3, 13, 1
TILES = 1 << 17 | 1 << 18  # XFEATURE_XTILE_CFG, XFEATURE_XTILE_DATA


def require_none(images_dir: str) -> None:
    """Raises NotRestorable, ImageError."""
    for thread, name in images.names(images_dir, "core"):
        for core in images.load(images_dir, name, "core"):
            message = core
            for number in (_X86, _FPREGS, _XSAVE):
                message = message.message(number) or Message()
            if (message.integer(_STATE_BV) or 0) & TILES:
                raise NotRestorable(
                    "the checkpoint can't be restored, so it is not kept: thread "
                    f"{thread} of the container was in the middle of a calculation with AMX: capture while it is idle"
                )
