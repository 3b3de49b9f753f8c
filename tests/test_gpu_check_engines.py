"""What hack/gpu-check asks of an engine and of a machine, before there is one."""

import os

import pytest
from hack.gpulib import engines
from hack.gpulib.engines import Options
from hack.gpulib.pods import Failed


def test_weights_and_a_cache_fit_on_a_gpu_of_80_gb() -> None:
    for shape, weights in engines.WEIGHTS_GB.items():
        share = float(Options(shape=shape).gpu_share)
        assert weights + 4 < share * 80 < 78
    assert Options(shape="32b", memory="0.8").gpu_share == "0.8"


@pytest.mark.parametrize(
    ("shape", "weights", "free_gb", "memory_gb", "said"),
    [
        ("32b", "reload", 70, 128, ""),
        ("32b", "keep", 70, 128, "137 GB of memory, keep of the shape 32b needs 197 GB"),
        ("32b", "reload", 60, 128, "has 64 GB free, the shape 32b needs 66 GB"),
        ("8b", "keep", 20, 128, ""),
    ],
)
def test_a_shape_that_this_machine_has_no_memory_for_is_refused_at_once(
    shape: str, weights: str, free_gb: int, memory_gb: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = os.statvfs("/")
    free = os.statvfs_result((4096, 4096, 0, 0, (free_gb << 30) // 4096, 0, 0, 0, 0, 255, found.f_fsid))
    monkeypatch.setattr(os, "statvfs", lambda _: free)
    monkeypatch.setattr(os, "sysconf", lambda name: (memory_gb << 30) // 4096 if "PAGES" in name else 4096)
    chosen = Options(shape=shape, weights=weights)
    if not said:
        engines.require_space(chosen)
        return
    with pytest.raises(Failed, match=said):
        engines.require_space(chosen)


class AnsweringPod:
    """Stands for a restored pod with an engine: its texts in their order, and what it was sent."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.requests: list[str] = []

    def text(self, _within_s: float) -> str:
        self.requests.append("text")
        return self.texts.pop(0)

    def event(self, kind: str, _within_s: float) -> dict[str, str]:
        self.requests.append(kind)
        return {"result": "done"}


@pytest.mark.parametrize(
    ("texts", "found", "requests"),
    [
        (("same",), ("same", False), ["text"]),
        (("beside the canary", "same"), ("same", True), ["text", "after-restore", "text"]),
        (("wrong", "wrong"), ("wrong", True), ["text", "after-restore", "text"]),
    ],
)
def test_a_text_computed_beside_the_canary_is_requested_once_more_alone(
    texts: tuple[str, ...], found: tuple[str, bool], requests: list[str]
) -> None:
    pod = AnsweringPod(*texts)
    assert engines._first_text(Options(), pod, "same") == found  # type: ignore[arg-type]
    assert pod.requests == requests
