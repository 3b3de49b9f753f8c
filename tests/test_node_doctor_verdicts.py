"""Each check's verdict from facts: what is as it should be, what is not, and what makes no sense."""

import os
import stat
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glowplug.checkpoint.requirements import Gpu
from glowplug.cuda.facts import NO_DRIVER, Device, Node
from glowplug.cuda.trial import Trial
from glowplug.errors import GlowplugError, HostError
from glowplug.node import modules
from glowplug.node.doctor import (
    cdi,
    containerd,
    criu,
    disk,
    gpu,
    kernel,
    kernel_options,
    memory,
    permissions,
    runc,
)
from glowplug.node.doctor.finding import Finding
from glowplug.node.doctor.probes import HANDLER, handlers, options, ours
from glowplug.node.doctor.programs import Said, version_numbers

ALL = (1 << 41) - 1
SYS_RESOURCE, SYS_PTRACE = 1 << 24, 1 << 19
THERE = {name: True for name, is_there in kernel_options.OPTIONS.items() if is_there}
BUILT = dict.fromkeys(kernel_options.OPTIONS, "y")
BINARY = "/opt/glowplug/bin/glowplug-runtime"
GOOD: Mapping[str, Any] = {
    "runtimeType": "io.containerd.runc.v2",
    "options": {"BinaryName": BINARY},
    "PodAnnotations": ["glowplug.dev/*"],
    "ContainerAnnotations": ["glowplug.dev/*"],
}
H100 = Device(0, 0, Gpu("GPU-1", "NVIDIA H100 80GB HBM3", 85899345920, "9.0", False))
SPLIT = Device(1, 1, Gpu("GPU-2", "NVIDIA H100 80GB HBM3", 85899345920, "9.0", True))
SPEC = "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices: [{name: '0'}, {name: all}]\n"


def handler(**other: object) -> dict[str, Any]:
    return {**GOOD, **other}


def mode(kind: int, bits: int, user: int = 0) -> os.stat_result:
    return os.stat_result((kind | bits, 1, 1, 1, user, 0, 0, 0, 0, 0))


def chain(first: str, how: str) -> dict[str, object]:
    return {"nvidia-container-runtime": {"runtimes": [first, "runc"], "mode": how}}


@pytest.mark.parametrize(
    ("found", "level", "said"),
    [
        (kernel.judge_version("6.18.44-cloud"), "ok", "6.18.44-cloud"),
        (kernel.judge_page_size(4096), "ok", "4096 bytes"),
        (kernel.judge_page_size(65536), "wrong", "65536 bytes"),
        (kernel.judge_version("5.6.0"), "ok", "5.6.0"),
        (kernel.judge_version("5.4.0-200-generic"), "wrong", "5.4.0-200-generic"),
        (kernel.judge_ptrace(None), "ok", "allowed; no Yama"),
        (kernel.judge_ptrace("1\n"), "ok", "allowed; Yama's ptrace_scope is 1"),
        (kernel.judge_ptrace("3\n"), "wrong", "forbidden: Yama's ptrace_scope is 3"),
        (kernel.judge_capabilities(ALL), "ok", "root has what CRIU needs"),
        (kernel.judge_capabilities(ALL & ~SYS_RESOURCE), "warning", "root lacks CAP_SYS_RESOURCE"),
        (kernel.judge_capabilities(ALL & ~SYS_PTRACE), "wrong", "root lacks CAP_SYS_PTRACE"),
        (kernel.judge_cgroups(2, ["/sys/fs/cgroup"]), "ok", "v2"),
        (kernel.judge_cgroups(1, ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/freezer"]), "ok", "v1"),
        (kernel.judge_cgroups(1, ["/sys/fs/cgroup/cpu"]), "wrong", "v1 without the freezer controller"),
        (kernel_options.judge_options(BUILT, {}), "ok", "all 18 there"),
        (kernel_options.judge_options({**BUILT, "UNIX_DIAG": "m"}, {}), "ok", "all 18 there"),
        (kernel_options.judge_options({**BUILT, "UNIX_DIAG": "n"}, {}), "wrong", "lacks CONFIG_UNIX_DIAG"),
        (kernel_options.judge_options({**BUILT, "EPOLL": "n"}, THERE), "ok", "all 18 there"),
        (
            kernel_options.judge_options(None, THERE),
            "ok",
            "10 tried, all there; no configuration to read the others from",
        ),
        (
            kernel_options.judge_options(None, {**THERE, "CHECKPOINT_RESTORE": False}),
            "wrong",
            "lacks CONFIG_CHECKPOINT_RESTORE",
        ),
        (
            memory.judge_huge_pages("always [madvise] never\n", "always [advise] never\n"),
            "ok",
            "madvise; shared memory: advise",
        ),
        (
            memory.judge_huge_pages("always [madvise] never\n", "always advise [never]\n"),
            "warning",
            "madvise; shared memory: never",
        ),
        (
            memory.judge_huge_pages("[always] madvise never\n", "always advise never [deny]\n"),
            "warning",
            "always; shared memory: deny",
        ),
        (memory.judge_huge_pages("always madvise [never]\n", None), "warning", "never"),
        (memory.judge_huge_pages(None, None), "warning", "not in this kernel"),
        (criu.judge_version("/usr/sbin/criu", (4, 1, 0)), "ok", "4.1.0, /usr/sbin/criu"),
        (criu.judge_version("/usr/sbin/criu", (3, 17, 1)), "wrong", "3.17.1, /usr/sbin/criu"),
        (criu.judge_version("/opt/criu-4.2", (4, 2, 0)), "wrong", "4.2.0, /opt/criu-4.2"),
        (criu.judge_check(Said(0, "Looks good.\n")), "ok", "looks good"),
        (
            criu.judge_check(Said(1, "Warn  (a:1): x\nError (criu/cr-check.c:301): no kcmp\n")),
            "wrong",
            "no kcmp",
        ),
        (
            criu.judge_check(Said(1, "Warn  (a): b\ncriu: unrecognized option '--lokc'\n\nUsage:\n")),
            "wrong",
            "criu: unrecognized option '--lokc'",
        ),
        (criu.judge_check(Said(1, "")), "wrong", "`criu check` failed and said nothing"),
        (criu.judge_features(dict.fromkeys(criu.FEATURES, True)), "ok", "all 14 there"),
        (criu.judge_features({"mnt_id": True, "timens": False}), "warning", "lacks timens"),
        (runc.judge_version("/r", Said(0, "runc version 1.1.5+ds1\ncommit: x")), "ok", "1.1.5+ds1, /r"),
        (runc.judge_version("/r", Said(0, "runc version 1.0.3\n")), "wrong", "1.0.3, /r"),
        (
            runc.judge_through_runtime(BINARY, Said(0, "runc version 1.3.6"), Said(0, "runc version 1.3.6")),
            "ok",
            f"1.3.6, through {BINARY}",
        ),
        (
            runc.judge_through_runtime(BINARY, Said(0, "runc version 1.3.6"), Said(0, "runc version 1.1.5")),
            "wrong",
            f"1.3.6 through {BINARY}, 1.1.5 in the configuration",
        ),
        (runc.judge_python("/usr/bin/python3", Said(0, "3.11.2\n")), "ok", "3.11.2, /usr/bin/python3"),
        (runc.judge_python("/usr/bin/python3", Said(0, "3.9.2\n")), "wrong", "3.9.2, /usr/bin/python3"),
        (containerd.judge_version("1.6.20~ds1"), "ok", "1.6.20~ds1"),
        (containerd.judge_version("v2.1.9"), "ok", "v2.1.9"),
        (containerd.judge_version("1.5.18"), "wrong", "1.5.18"),
        (
            containerd.judge_ready({"RuntimeReady": True, "NetworkReady": True, "Other": False}),
            "ok",
            "runtime and network are ready",
        ),
        (containerd.judge_ready({"RuntimeReady": True, "NetworkReady": False}), "wrong", "not NetworkReady"),
        (containerd.judge_ready({}), "wrong", "not RuntimeReady and not NetworkReady"),
        (containerd.judge_handler(GOOD, True), "ok", BINARY),
        (containerd.judge_handler(None, False), "wrong", "none called glowplug"),
        (containerd.judge_handler(GOOD, False), "wrong", f"BinaryName is {BINARY}"),
        (containerd.judge_handler(handler(options=None), False), "wrong", "BinaryName is not set"),
        (
            containerd.judge_handler(handler(runtimeType="io.containerd.kata.v2"), True),
            "wrong",
            "runtime_type is io.containerd.kata.v2",
        ),
        (containerd.judge_annotations(GOOD), "ok", "glowplug.dev/* are passed through"),
        (containerd.judge_annotations(handler(PodAnnotations=None)), "warning", "not in PodAnnotations"),
        (containerd.judge_runc_root(GOOD, "/run/containerd/runc"), "ok", "/run/containerd/runc"),
        (containerd.judge_runc_root(handler(options={"Root": "/run/r/"}), "/run/r"), "ok", "/run/r/"),
        (
            containerd.judge_runc_root(GOOD, "/run/r"),
            "wrong",
            "/run/containerd/runc; the configuration says /run/r",
        ),
        (containerd.judge_snapshotter(GOOD, {"containerd": {"snapshotter": "overlayfs"}}), "ok", "overlayfs"),
        (containerd.judge_snapshotter(GOOD, {"containerd": {"snapshotter": "zfs"}}), "wrong", "zfs"),
        (containerd.judge_snapshotter(handler(snapshotter="nydus"), {}), "wrong", "nydus"),
        (containerd.judge_snapshotter(GOOD, {}), "ok", "containerd's own choice"),
        (containerd.judge_cgroup_driver(GOOD, {"options": {}}), "ok", "cgroupfs"),
        (containerd.judge_cgroup_driver(GOOD, None), "ok", "cgroupfs"),
        (
            containerd.judge_cgroup_driver(GOOD, {"options": {"SystemdCgroup": True}}),
            "wrong",
            "SystemdCgroup is false, and true in the handler runc",
        ),
        (disk.judge_space(100 << 30, 5 << 30, "/c"), "ok", "107.4 GB free in /c"),
        (disk.judge_space(12 << 30, 5 << 30, "/c"), "warning", "12.9 GB free in /c"),
        (disk.judge_space(100 << 30, 5 << 30, "/c", read_only=True), "wrong", "/c is read-only"),
        (
            disk.judge_speed(disk.Speed(1.2e9, 2e9, True), 60.0),
            "ok",
            "reads 2000 MB/s, writes 1200 MB/s; 120.0 GB in the 60 s of a restore",
        ),
        (disk.judge_speed(disk.Speed(1e8, 1e8, True), 60.0), "warning", "reads 100 MB/s, writes 100 MB/s"),
        (
            disk.judge_speed(disk.Speed(2e9, 5e9, False), 60.0),
            "warning",
            "reads 5000 MB/s, writes 2000 MB/s, in memory",
        ),
        (permissions.judge_private("/c", mode(stat.S_IFDIR, 0o700)), "ok", "/c: drwx------, user 0"),
        (permissions.judge_private("/c", mode(stat.S_IFDIR, 0o755)), "wrong", "/c: drwxr-xr-x, user 0"),
        (permissions.judge_private("/c", mode(stat.S_IFDIR, 0o700, 33)), "wrong", "/c: drwx------, user 33"),
        (permissions.judge_private("/c", mode(stat.S_IFLNK, 0o777)), "wrong", "/c: lrwxrwxrwx, user 0"),
        (
            permissions.judge_cache("/var/lib", mode(stat.S_IFDIR, 0o755), ["apt", "dpkg"]),
            "wrong",
            "/var/lib is used by others: apt",
        ),
        (permissions.judge_cache("/c", mode(stat.S_IFDIR, 0o700), []), "ok", "/c: drwx------, user 0"),
        (permissions.judge_private("/c", None), "ok", "/c: not there yet; the agent makes it"),
        (
            permissions.judge_programs({"/a": mode(stat.S_IFREG, 0o755), "/tmp": mode(stat.S_IFDIR, 0o1777)}),
            "ok",
            "writable by root only",
        ),
        (permissions.judge_programs({"/a": mode(stat.S_IFREG, 0o775)}), "wrong", "others may change /a"),
        (permissions.judge_programs({"/a": mode(stat.S_IFREG, 0o755, 7)}), "wrong", "others may change /a"),
        (gpu.judge_driver(False, ""), "ok", "no GPU here"),
        (gpu.judge_driver(True, ""), "wrong", "a GPU, and no NVIDIA driver loaded"),
        (gpu.judge_driver(True, "580.159.04"), "ok", "580.159.04"),
        (gpu.judge_driver(True, "570.86.15"), "warning", "570.86.15"),
        (gpu.judge_driver(True, "535.183.01"), "wrong", "535.183.01"),
        (gpu.judge_nvml(Node("580.1", 13000, (H100,))), "ok", "1: NVIDIA H100 80GB HBM3"),
        (
            gpu.judge_nvml(Node("580.1", 13000, (H100, SPLIT))),
            "warning",
            "2: NVIDIA H100 80GB HBM3; MIG is on for 1",
        ),
        (gpu.judge_nvml(NO_DRIVER), "wrong", "NVML names no GPU"),
        (gpu.judge_trial(Trial("driver", 0.512)), "ok", "there and back in 0.51 s, by the driver"),
        (
            cdi.judge_specs(True, ["/etc/cdi"], {"/etc/cdi/nvidia.yaml": 9, "/etc/cdi/x.json": 0}),
            "ok",
            "CDI: 9 devices in /etc/cdi/nvidia.yaml",
        ),
        (cdi.judge_specs(False, ["/etc/cdi"], {"/a": 9}), "warning", "CDI is off in containerd"),
        (
            cdi.judge_specs(True, ["/etc/cdi", "/var/run/cdi"], {}),
            "warning",
            "CDI is on, no nvidia.com/gpu in /etc/cdi and /var/run/cdi",
        ),
        (cdi.judge_chain("/c", chain(BINARY, "cdi")), "ok", "behind nvidia-container-runtime, mode cdi"),
        (
            cdi.judge_chain("/c", chain(BINARY, "auto")),
            "warning",
            "behind nvidia-container-runtime, mode auto",
        ),
        (cdi.judge_chain("/c", chain("crun", "cdi")), "wrong", "nvidia-container-runtime calls crun"),
        (cdi.judge_chain("/c", {}), "wrong", "nvidia-container-runtime calls its own default"),
        (
            runc.judge_version(
                "/r", Said(0, "NVIDIA Container Runtime version 1.17.8\n\nrunc version 1.3.0\n")
            ),
            "ok",
            "1.3.0, /r",
        ),
    ],
)
def test_each_fact_has_its_verdict(found: Finding, level: str, said: str) -> None:
    assert (found.level, found.found) == (level, said)
    # What is not well says what would be, and what to do.
    assert bool(found.want) == bool(found.fix) == (level != "ok")


def test_small_pages_are_fixed_where_they_are() -> None:
    """Of a process's own memory, of shared memory, or of both."""
    small, shared = "always madvise [never]\n", "always advise [never]\n"
    fixes = [
        memory.judge_huge_pages(*setting).fix
        for setting in ((small, None), ("[madvise]", shared), (small, shared))
    ]
    private, other, both = (
        [word.rpartition("/")[2] for word in fix.replace(";", " ").split() if "/" in word] for fix in fixes
    )
    assert (private, other, both) == (["enabled"], ["shmem_enabled"], ["enabled", "shmem_enabled"])
    assert "--huge-shm" not in fixes[0] and "node install --huge-shm" in fixes[1]


def test_what_small_pages_of_shared_memory_cost_is_said_with_the_settings_name() -> None:
    found = memory.judge_huge_pages("[madvise]", "always advise [never]\n")
    assert "shmem_enabled at advise" in found.want and "4.9 s, not in 9.0" in found.want


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1.6.20~ds1", (1, 6, 20)),
        ("v2.1.9", (2, 1, 9)),
        ("6.18.44-fc", (6, 18, 44)),
        ("580.159.04", (580, 159, 4)),
    ],
)
def test_versions_are_read(text: str, numbers: tuple[int, ...]) -> None:
    assert version_numbers(text) == numbers


@given(st.text())
def test_any_text_is_a_version_or_none(text: str) -> None:
    try:
        assert version_numbers(text)
    except HostError as error:
        assert "expected a version" in str(error)


@given(st.text())
def test_garbage_of_a_program_is_our_error(text: str) -> None:
    judgements: list[Callable[[], Finding]] = [
        lambda: runc.judge_version("/r", Said(0, text)),
        lambda: runc.judge_python("/p", Said(0, text)),
        lambda: kernel.judge_version(text),
        lambda: memory.judge_huge_pages(text, text),
        lambda: gpu.judge_driver(True, text),
    ]
    for judge in judgements:
        try:
            judge()
        except GlowplugError:
            continue
    assert criu.judge_check(Said(1, text)).level == "wrong"
    assert cdi.gpus_in(text) >= 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["options", "runtimes"]), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["containerd", "enableCDI", "runtimes"]), JSON))
def test_a_configuration_of_another_shape_has_no_handler(config: dict[str, Any]) -> None:
    for found in handlers(config).values():
        options(found)
    assert handlers({"containerd": {"runtimes": {HANDLER: GOOD}}})[HANDLER] == GOOD


def test_a_handler_of_another_name_is_known_by_its_program() -> None:
    stock: dict[str, Any] = {"runtimeType": "io.containerd.runc.v2", "options": {}}
    behind = {**GOOD, "options": {"BinaryName": f"{BINARY}-fast"}}
    assert ours({"runc": stock}) is None
    assert ours({"runc": stock, "fast": behind}) == behind
    assert ours({"a": behind, HANDLER: GOOD, "runc": stock}) == GOOD


def test_the_kernels_configuration_is_read_and_other_text_is_none() -> None:
    assert kernel_options.parsed(["# CONFIG_A is not set", "CONFIG_B=m\n", 'CONFIG_C="x=y"']) == {
        "B": "m",
        "C": '"x=y"',
    }
    assert kernel_options.parsed(["", "hello"]) is None


def test_gpus_are_counted_in_specs_of_gpus_alone(tmp_path: os.PathLike[str]) -> None:
    for name, text in {
        "nvidia.yaml": SPEC,
        "fpga.json": '{"kind": "example.com/fpga", "devices": [{"name": "0"}]}',
        "broken.yaml": "{",
        "note.txt": SPEC,
    }.items():
        with open(os.path.join(tmp_path, name), "w") as file:
            file.write(text)
    found = cdi.specs([str(tmp_path), "/nonexistent"])
    assert found == {f"{tmp_path}/broken.yaml": 0, f"{tmp_path}/fpga.json": 0, f"{tmp_path}/nvidia.yaml": 2}


def test_a_chain_is_known_by_its_program(tmp_path: os.PathLike[str]) -> None:
    program = f"{tmp_path}/bin/glowplug-runtime-fast"
    assert cdi.chain_config("/usr/bin/nvidia-container-runtime.cdi") == cdi.NVIDIA_CONFIG
    assert cdi.chain_config(program) == cdi.chain_config(BINARY) == cdi.chain_config("") == ""
    config = f"{tmp_path}/etc/fast/nvidia-container-runtime/config.toml"
    os.makedirs(os.path.dirname(config))
    open(config, "w").close()
    assert cdi.chain_config(program) == config


@pytest.mark.parametrize(
    ("setting", "version", "on"),
    [(True, "1.7.24", True), (None, "1.6.20", False), (False, "v2.1.9", False), (None, "v2.1.9", True)],
)
def test_cdi_is_on_by_itself_since_containerd_2(setting: object, version: str, on: bool) -> None:
    assert cdi.is_on(setting, version) is on


def test_the_disk_is_measured_and_left_as_it_was(
    tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "MEASURED_BYTES", 8 << 20)
    found = disk.measure(str(tmp_path))
    assert found.read > 0 and found.write > 0
    assert os.listdir(tmp_path) == []


def test_the_runtimes_interpreter_is_sought_where_the_runtime_seeks_it() -> None:
    script = os.path.join(os.path.dirname(__file__), "..", "shim", "glowplug-runtime")
    with open(script) as file:
        text = file.read()
    first, *others = modules.PYTHONS
    here = "$_glowplug_here"
    assert f'for _glowplug_python in "{first.format(here=here)}" {" ".join(others)} python3; do' in text
