"""Which GPU is assigned to a container is noise, how many are is significant."""

import pytest
from tests import checkpoint_made as made

from glowplug.checkpoint.noise import SandboxFacts


def test_gpus_count_by_number() -> None:
    def of(*gpus: int) -> str:
        found = made.spec()
        devices = [{"path": f"/dev/nvidia{n}", "type": "c", "major": 195, "minor": n} for n in gpus]
        found["linux"]["devices"] += [
            *devices,
            {"path": "/dev/nvidiactl", "type": "c", "major": 195, "minor": 255},
        ]
        uuids = ",".join(f"GPU-{n}0c5f2a8-6a53-4a0e-9a55-6d6d2a1b7c11" for n in gpus)
        found["process"]["env"].append(f"NVIDIA_VISIBLE_DEVICES={uuids}")
        return made.key_of(found).digest

    assert of(0) == of(3)
    assert of(0, 1) == of(2, 5)
    assert of(0) != of(0, 1)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("NVIDIA_VISIBLE_DEVICES", "nvidia.com/gpu=0", "nvidia.com/gpu=1"),
        ("NVIDIA_VISIBLE_DEVICES", "runtime.nvidia.com/gpu=0:1", "runtime.nvidia.com/gpu=2:0"),
        ("GPU_DEVICE_0_UUID", f"GPU-{made.UID}", "GPU-9e107d9d-372b-4b6e-8d5a-1f0a2c3b4d5e"),
    ],
)
def test_which_gpu_a_variable_names_is_noise(name: str, one: str, other: str) -> None:
    def of(value: str, gpu: int, node: str = "/dev/nvidia") -> str:
        found = made.spec()
        found["linux"]["devices"].append({"path": f"{node}{gpu}", "type": "c", "major": 195, "minor": gpu})
        found["process"]["env"].append(f"{name}={value}")
        return made.key_of(found, SandboxFacts("p", "m", "")).digest

    assert of(one, 0) == of(other, 1)
    assert of(one, 0) != of(f"{one},{other}", 0)
    assert of(one, 0) != of("", 0)
    if not name.endswith("VISIBLE_DEVICES"):
        assert of(one, 0, "/dev/x") != of(other, 0, "/dev/x")
