"""What a container's volumes are, read from the directories that the kubelet makes of them."""

import base64
import json
import time
from pathlib import Path

import pytest

from glowplug.capture import volume_answers
from glowplug.capture.volume_files import Unreadable
from glowplug.checkpoint import mounts
from glowplug.checkpoint.noise import SandboxFacts


def answer(source: str, how: str) -> str | None:
    """As the agent asks; None where it can't be known."""
    try:
        return volume_answers.answer(source, how, POD, time.monotonic() + 60, None)
    except (Unreadable, OSError, ValueError):
        return None


POD = SandboxFacts(name="web", namespace="models", uid="0c5f2a8e-6a53-4a0e-9a55-6d6d2a1b7c11")


def csi(directory: Path, noted: object, **files: str) -> str | None:
    """The identity of a CSI volume that the kubelet noted so, with these files."""
    (directory / "mount").mkdir(parents=True)
    for name, text in files.items():
        (directory / "mount" / name).write_text(text)
    (directory / "vol_data.json").write_text(noted if isinstance(noted, str) else json.dumps(noted))
    return answer(f"{directory}/mount", mounts.VOLUME)


def noted(mode: str = "Persistent", driver: str = "disk.example.com", handle: str = "a") -> dict[str, str]:
    return {"driverName": driver, "specVolID": "v", "volumeHandle": handle, "volumeLifecycleMode": mode}


def test_a_persistent_volume_is_its_driver_s_handle_whatever_is_in_it(tmp_path: Path) -> None:
    one = csi(tmp_path / "1", noted(), weights="1")
    assert one and one == csi(tmp_path / "2", noted(), weights="2")
    assert one != csi(tmp_path / "3", noted(handle="b"), weights="1")
    assert one != csi(tmp_path / "4", noted(driver="other.example.com"), weights="1")


def test_a_volume_made_for_its_pod_alone_is_what_is_in_it(tmp_path: Path) -> None:
    """Secrets by a CSI driver: each pod's handle is another, and the name is the same for all."""
    one = csi(tmp_path / "1", noted("Ephemeral", handle="of-one-pod"), password="hunter2")
    assert one and "hunter2" not in one
    assert one == csi(tmp_path / "2", noted("Ephemeral", handle="of-another"), password="hunter2")
    assert one != csi(tmp_path / "3", noted("Ephemeral"), password="hunter3")


@pytest.mark.parametrize(
    "found",
    [
        "",
        "[]",
        "{",
        {},
        noted("Sometimes"),
        noted(handle=""),
        {name: value for name, value in noted().items() if name != "volumeLifecycleMode"},
    ],
)
def test_a_volume_that_nobody_notes_well_is_unknown(tmp_path: Path, found: object) -> None:
    assert csi(tmp_path / "v", found) is None


def test_a_large_volume_of_one_pod_is_unknown(tmp_path: Path) -> None:
    assert csi(tmp_path / "v", noted("Ephemeral"), data="x" * (2 << 20)) is None


def test_a_service_account_is_the_one_whose_token_it_is(tmp_path: Path) -> None:
    def account(name: str, text: str) -> str | None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(text)
        return answer(f"{tmp_path}/{name}", mounts.SERVICE_ACCOUNT)

    claims = {"sub": "system:serviceaccount:models:reader", "exp": 1000}
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in ({"alg": "RS256"}, claims)
    ]
    assert account("1", ".".join([*parts, "c2ln"])) == "reader"
    assert account("2", "no token") is None
    assert answer(f"{tmp_path}/gone", mounts.SERVICE_ACCOUNT) is None


def test_files_that_can_t_be_listed_are_unknown(tmp_path: Path) -> None:
    """To leave them out would make the volume equal to an empty one."""
    assert answer(f"{tmp_path}/gone", mounts.CONTENT) is None
    (tmp_path / "empty").mkdir()
    assert answer(f"{tmp_path}/empty", mounts.CONTENT) is not None
