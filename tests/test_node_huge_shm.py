"""`node install --huge-shm` turns huge pages for shared memory on; what was there before comes back."""

from pathlib import Path

import pytest

from glowplug.errors import NodeError
from glowplug.node import huge_shm


class Kernel:
    """A file that stands for the setting: sysfs shows the choice in brackets, and takes one word."""

    def __init__(self, folder: Path, chosen: str) -> None:
        self.setting, self.at_boot, self.prefix = folder / "shmem_enabled", folder / "boot.conf", str(folder)
        self.setting.write_text(f"always within_size advise [{chosen}] deny force\n")

    def on(self) -> list[str]:
        return huge_shm.turn_on(self.prefix, str(self.setting), str(self.at_boot))

    def back(self) -> list[str]:
        return huge_shm.put_back(self.prefix, str(self.setting), str(self.at_boot))


def test_it_is_turned_on_now_and_at_every_boot_and_put_back(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "never")
    assert "it was never" in kernel.on()[0]
    assert kernel.setting.read_text() == "advise"
    assert kernel.at_boot.read_text() == f"w {kernel.setting} - - - - advise\n"
    assert kernel.on() == [f"{kernel.setting} is advise: shared memory may have huge pages already"]
    assert kernel.back() == [f"{kernel.setting} is never again"]
    assert kernel.setting.read_text() == "never" and not kernel.at_boot.exists()
    assert kernel.back() == []


def test_what_somebody_chose_is_left(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "always")
    assert "already" in kernel.on()[0] and not kernel.at_boot.exists() and kernel.back() == []
    kernel = Kernel(tmp_path, "never")
    kernel.on()
    kernel.setting.write_text("[always] advise never")
    assert "somebody has changed it" in kernel.back()[0]
    assert kernel.setting.read_text() == "[always] advise never"


def test_what_can_not_be_done_is_said_with_all_as_before(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "never")
    kernel.at_boot = tmp_path / "none/boot.conf"
    with pytest.raises(NodeError, match="all is as before"):
        kernel.on()
    assert "[never]" in kernel.setting.read_text() and not (tmp_path / "huge-shm.json").exists()
    kernel.setting.unlink()
    with pytest.raises(NodeError, match="no huge pages"):
        kernel.on()
