"""What a restore has to know of the images, beside them."""

import pytest

from glowplug.criu import image_fixups
from glowplug.errors import ImageError


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"addresses": 7, "cgroup_namespace": true}', '{"addresses": []}']
)
def test_garbage_beside_the_images_is_an_image_error(tmp_path: object, text: str) -> None:
    with open(f"{tmp_path}/{image_fixups.NAME}", "w") as file:
        file.write(text)
    with pytest.raises(ImageError, match=r"image-fixups\.json"):
        image_fixups.read(str(tmp_path))


def test_it_is_not_there(tmp_path: object) -> None:
    with pytest.raises(ImageError, match="No such file"):
        image_fixups.read(str(tmp_path))
