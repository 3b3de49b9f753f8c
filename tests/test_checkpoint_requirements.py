"""What a process needs of a node: four kinds of rules, and a fact that is not known fits none."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import checkpoint_made as made

from glowplug.checkpoint import bundle, requirements
from glowplug.checkpoint.requirements import (
    GPU_RULES,
    RULES,
    UNLIMITED,
    ContainerResources,
    Gpu,
    HostRequirements,
    asks_for_gpu,
    compare,
    require,
)

NEEDED = require(made.HOST, made.RESOURCES)
FIELDS = [field.name for field in dataclasses.fields(HostRequirements)]
H200 = Gpu("GPU-" + "1" * 36, "NVIDIA H200", 139 << 30, "9.0", False)


def found(**changes: Any) -> HostRequirements:
    return dataclasses.replace(NEEDED, **changes)


def slugs(needed: HostRequirements, has: HostRequirements) -> list[str]:
    return [reason.slug for reason in compare(needed, has)]


def test_a_node_gives_what_it_gave() -> None:
    assert compare(NEEDED, NEEDED) == []


def test_every_field_has_a_rule() -> None:
    assert {field for field, *_ in RULES + GPU_RULES} == set(FIELDS)


@given(st.sets(st.sampled_from(FIELDS), min_size=1), st.booleans())
@settings(deadline=None)
def test_no_fact_may_be_missing_on_either_side(missing: set[str], here: bool) -> None:
    holed = found(**dict.fromkeys(missing))
    reasons = compare(NEEDED, holed) if here else compare(holed, NEEDED)
    assert len(reasons) == len(missing)
    assert all("unknown" in (reason.has if here else reason.needs) for reason in reasons)


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        ({"arch": "aarch64"}, "cpu"),
        ({"cpu_features": ("avx2",)}, "cpu"),
        ({"xsave_bytes": 11008}, "cpu"),
        ({"kernel": "6.1.0"}, ""),
        ({"kernel": "6.1.7-25-cloud"}, ""),
        ({"kernel": "6.2.0"}, "kernel"),
        ({"kernel": "5.15.0"}, "kernel"),
        ({"kernel": "garbage"}, "kernel"),
        ({"criu": "4.2.1"}, ""),
        ({"criu": "4.0"}, "criu"),
        ({"criu": "5.0"}, "criu"),
        ({"image_format": "V2"}, "criu"),
        ({"page_bytes": 65536}, "page-size"),
        ({"cgroup": "v1"}, "cgroup"),
        ({"memory_limit": 16 << 30}, ""),
        ({"memory_limit": UNLIMITED}, ""),
        ({"memory_limit": 4 << 30}, "memory-limit"),
        ({"cpu_limit": 4000}, ""),
        ({"cpu_limit": 1000}, "cpu-limit"),
        ({"gpu_count": 2}, "gpu"),
        ({"gpu_products": ("NVIDIA H200",)}, "gpu"),
        ({"gpu_memory_bytes": 96 << 30}, ""),
        ({"gpu_memory_bytes": 40 << 30}, "gpu"),
        ({"gpu_compute": ("8.0",)}, "gpu"),
        ({"gpu_mig": True}, "gpu"),
        ({"driver": "580.159.05"}, "driver"),
        ({"cuda_libraries": ("libcuda.so.1", "libnvcuvid.so.1")}, "cuda-libraries"),
        ({"cpu_features": ("amx_tile", "avx2", "sse4_2")}, ""),
    ],
)
def test_each_rule(change: dict[str, Any], slug: str) -> None:
    assert slugs(NEEDED, found(**change)) == ([slug] if slug else [])


def test_a_process_that_saw_no_limit_gets_no_limit() -> None:
    needed = found(memory_limit=UNLIMITED, cpu_limit=UNLIMITED)
    assert slugs(needed, NEEDED) == ["memory-limit", "cpu-limit"]
    assert slugs(needed, needed) == []


def test_a_kernel_of_the_same_series_may_not_be_older() -> None:
    assert slugs(found(kernel="6.1.9"), found(kernel="6.1.10")) == []
    assert slugs(found(kernel="6.1.9"), found(kernel="6.1.8")) == ["kernel"]
    assert slugs(found(kernel="garbage"), found(kernel="garbage")) == ["kernel"]


def test_a_process_without_gpus_asks_for_none_of_their_facts() -> None:
    plain = require(made.HOST, dataclasses.replace(made.RESOURCES, gpus=(), cuda_libraries=()))
    host = dataclasses.replace(made.HOST, driver=None)
    assigned = dataclasses.replace(made.RESOURCES, gpus=(), cuda_libraries=())
    assert slugs(plain, require(host, assigned)) == []
    assert slugs(plain, require(host, dataclasses.replace(assigned, gpus=None))) == ["gpu"]
    assert slugs(plain, require(host, dataclasses.replace(assigned, gpus=made.GPUS))) == ["gpu"]


def test_reasons_name_what_is_missing_only() -> None:
    (reason,) = compare(found(cpu_features=("amx_tile", "avx2", "sse4_2")), NEEDED)
    assert (reason.part, reason.needs) == ("CPU features", "amx_tile")


def test_several_gpus_are_one_row() -> None:
    row = require(made.HOST, dataclasses.replace(made.RESOURCES, gpus=(H200, *made.GPUS)))
    assert row.gpu_count == 2
    assert row.gpu_products == ("NVIDIA H100", "NVIDIA H200")
    assert row.gpu_memory_bytes == 80 << 30


def test_limits_are_read_from_the_bundle() -> None:
    facts = requirements.container_resources(bundle.read(made.spec()), None)
    assert facts == ContainerResources(8 << 30, 2000, (), (), UNLIMITED, UNLIMITED, UNLIMITED)
    assert requirements.container_resources(bundle.read({}), None).memory_limit == UNLIMITED
    assert requirements.container_resources(bundle.read({}), None).cpu_limit == UNLIMITED


def test_the_limits_of_the_pod_hold_where_they_are_lower_or_the_only_ones() -> None:
    def of(spec: dict[str, Any], memory: int, cpu: int) -> tuple[int | None, int | None]:
        facts = requirements.container_resources(bundle.read(spec), None, pod_memory=memory, pod_cpu=cpu)
        return facts.memory_limit, facts.cpu_limit

    assert of(made.spec(), 4 << 30, 1000) == (4 << 30, 1000)
    assert of(made.spec(), 16 << 30, UNLIMITED) == (8 << 30, 2000)
    assert of({}, 4 << 30, 1000) == (4 << 30, 1000)
    assert of({}, UNLIMITED, UNLIMITED) == (UNLIMITED, UNLIMITED)


@pytest.mark.parametrize(
    "change",
    [
        {"linux": {"devices": [{"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0}]}},
        {"process": {"env": ["NVIDIA_VISIBLE_DEVICES=all"]}},
        {"mounts": [made.bind("/dev/nvidiactl", "/dev/nvidiactl")]},
    ],
)
def test_gpus_that_the_spec_asks_for_are_unknown_until_somebody_says(change: dict[str, Any]) -> None:
    facts = bundle.read(change)
    assert asks_for_gpu(facts)
    assert requirements.container_resources(facts, None).gpus is None
    assert requirements.container_resources(facts, made.GPUS).gpus == made.GPUS


@pytest.mark.parametrize("value", ["", "void", "none"])
def test_a_variable_that_asks_for_none_asks_for_none(value: str) -> None:
    facts = bundle.read({"process": {"env": [f"NVIDIA_VISIBLE_DEVICES={value}"]}})
    assert requirements.container_resources(facts, None).gpus == ()


def test_cpus_and_numa_nodes_are_counted_and_may_be_others() -> None:
    def of(**cpu: str) -> HostRequirements:
        spec = made.spec()
        spec["linux"]["resources"]["cpu"] |= cpu
        spec["linux"]["resources"]["pids"] = {"limit": 100}
        return require(made.HOST, requirements.container_resources(bundle.read(spec), None))

    pinned = of(cpus="0-3,8", mems="0")
    assert (pinned.cpus, pinned.memory_nodes, pinned.pids_limit) == (5, 1, 100)
    assert slugs(pinned, of(cpus="16-20", mems="1")) == []
    assert slugs(pinned, of(cpus="16-19", mems="1")) == ["cpu-limit"]
    assert slugs(pinned, of()) == []
    assert of(cpus="garbage").cpus is None
    assert slugs(pinned, of(cpus="garbage", mems="0")) == ["cpu-limit"]


def test_a_raised_limit_fits_and_is_not_the_same() -> None:
    raised = dataclasses.replace(NEEDED, memory_limit=UNLIMITED, cpu_limit=16000)
    assert compare(NEEDED, raised) == []
    assert not requirements.has_same_limits(NEEDED, raised)
    assert requirements.has_same_limits(NEEDED, NEEDED)
