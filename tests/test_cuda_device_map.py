"""The device map: nothing when nothing changes, every device when one does, and never another kind of GPU."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glowplug.checkpoint.requirements import Gpu
from glowplug.cuda.device_map import device_map
from glowplug.errors import CudaError


def gpu(
    name: str, memory: int = 80, product: str = "H100", capability: str = "9.0", mig: bool = False
) -> Gpu:
    return Gpu(f"GPU-{name}", product, memory, capability, mig)


def test_the_same_gpus_in_any_order_need_no_map() -> None:
    assert device_map([gpu("a"), gpu("b")], [gpu("b"), gpu("a")], 12080) == ()


def test_another_gpu_is_mapped() -> None:
    assert device_map([gpu("a")], [gpu("b")], 13000) == (("GPU-a", "GPU-b"),)


def test_a_gpu_that_stays_is_in_the_map_too() -> None:
    pairs = device_map([gpu("a"), gpu("b")], [gpu("c"), gpu("b")], 13000)
    assert dict(pairs) == {"GPU-a": "GPU-c", "GPU-b": "GPU-b"}


def test_a_small_gpu_leaves_the_large_partner_to_a_large_one() -> None:
    pairs = device_map([gpu("small", 40), gpu("large", 80)], [gpu("x", 80), gpu("y", 40)], 13000)
    assert dict(pairs) == {"GPU-large": "GPU-x", "GPU-small": "GPU-y"}


@pytest.mark.parametrize(
    ("new", "cuda", "said"),
    [
        ([gpu("b")], 12090, r"expected driver 580 \(CUDA 13000\).*got CUDA 12090"),
        ([gpu("b"), gpu("c")], 13000, "expected 1 GPUs as at the capture, got 2"),
        ([], 13000, "expected 1 GPUs as at the capture, got 0"),
        ([gpu("b", product="H200")], 13000, "expected a H100 .*, got H200 with 80 bytes"),
        ([gpu("b", memory=79)], 13000, "with 80 bytes for captured GPU-a, got H100 with 79 bytes"),
        ([gpu("b", capability="10.0")], 13000, "compute capability 9.0"),
        ([gpu("b", mig=True)], 13000, "got MIG"),
    ],
)
def test_what_can_not_be_mapped_is_refused(new: list[Gpu], cuda: int, said: str) -> None:
    with pytest.raises(CudaError, match=said):
        device_map([gpu("a")], new, cuda)


names = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True)


@given(names, names, st.lists(st.integers(1, 3), min_size=16, max_size=16))
def test_a_map_is_a_complete_one_to_one_map_to_gpus_that_serve(
    old: list[str], new: list[str], sizes: list[int]
) -> None:
    memory = dict(zip("abcdefgh", sizes, strict=False))
    before, after = ([gpu(name, memory[name]) for name in some] for some in (old, new))
    try:
        pairs = device_map(before, after, 13000)
    except CudaError:
        return
    if not pairs:
        assert set(old) == set(new)
        return
    assert {one for one, _ in pairs} == {found.uuid for found in before}
    assert {other for _, other in pairs} == {found.uuid for found in after}
    assert len(pairs) == len(before)
    for one, other in pairs:
        assert memory[one[-1]] <= memory[other[-1]]
