"""The writable layer of a capture, and what a restore has to know of it besides.

In a checkpoint it is in layer/: `tree` holds the files in overlay's own terms, and `index.json` their
fingerprint and the links that CRIU's images ask for (see capture/links.py), each as [a name in the tree, the path
to make].
"""

import json
import os
import threading

from glowplug.capture.subject import Subject
from glowplug.errors import LayerError
from glowplug.layer import descent, tree


class Copy:
    """The layer on its way into a checkpoint, copied by a thread beside CRIU's dump. A context, to be left when the
    container runs again: whatever happened, nothing is copied any more after it."""

    def __init__(self, subject: Subject, into: str) -> None:
        """into: the checkpoint's directory."""
        self._upper = subject.upper
        self._folder = f"{into}/layer"
        self._copied: tree.Summary | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Copy":
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.join()

    def begin(self) -> None:
        """Once the container is frozen."""
        os.makedirs(self._folder, 0o700)
        self._thread = threading.Thread(target=self._copy, name="layer", daemon=True)
        self._thread.start()

    def finish(self, links: list[tuple[str, str]]) -> tree.Summary:
        """Return once it is complete; the dump is, and the container is still frozen. Raises LayerError.

        links: those that the images ask for. CRIU made them in the layer for the time of its dump: where there are any,
        all is copied once more, and so it is where the copy failed.
        """
        self.__exit__()
        if links:
            descent.remove(self._tree)
            self._copied = None
        copied = self._copied or tree.capture(self._upper, self._tree)
        index = {"fingerprint": copied.fingerprint, "links": links}
        with open(f"{self._folder}/index.json", "w") as file:
            json.dump(index, file)
        return copied

    @property
    def _tree(self) -> str:
        return f"{self._folder}/tree"

    def _copy(self) -> None:
        try:
            self._copied = tree.capture(self._upper, self._tree)
        except LayerError:
            return  # of a name that CRIU took away, perhaps: `finish` copies it again, and raises what fails then
