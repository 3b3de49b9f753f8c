"""Images are the same bytes each time: tests compare chain IDs across nodes."""

import os
import tarfile

from integration import images
from integration.oci_archive import ImageConfig, LayerTar, write_archive


def test_the_same_content_gives_the_same_image(tmp_path: str) -> None:
    ids = []
    for turn in ("first", "second"):
        layer = os.path.join(tmp_path, f"{turn}.tar")
        with LayerTar(layer) as tar:
            tar.tree("workload", images.WORKLOAD)
            tar.link("bin", "usr/bin")
        archive = os.path.join(tmp_path, f"{turn}-image.tar")
        ids.append(
            write_archive(archive, "glowplug.test/same:1", [layer], ImageConfig(["/bin/sh"], {"A": "b"}))
        )
    assert ids[0] == ids[1]


def test_a_layer_names_each_directory_before_what_is_in_it(tmp_path: str) -> None:
    layer = os.path.join(tmp_path, "layer.tar")
    with LayerTar(layer) as tar:
        tar.file("a/b/c", b"content", mode=0o600)
        tar.file("a/b/d", b"")
    with tarfile.open(layer) as written:
        assert written.getnames() == ["a", "a/b", "a/b/c", "a/b/d"]
        assert written.getmember("a/b/c").mode == 0o600
