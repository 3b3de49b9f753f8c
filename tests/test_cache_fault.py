"""A checkpoint is quarantined for its own faults only: the table of stages, and what CRIU's log says."""

import os

import pytest

from glowplug.cache.fault import STAGES, Fault, first_error, whose
from glowplug.restore.stages import NAMES

CHECKPOINTS_OWN = [
    "(00.010)      1: Error (criu/files-reg.c:2175): File opt/model.bin has bad size 7 (expect 9)",
    "(00.010) Error (criu/protobuf.c:101): Failed unpacking object 0x1 from core-1.img",
    "(00.010) Error (criu/image.c:563): Magic doesn't match for mm-1.img",
    "(00.010) Error (criu/cr-restore.c:1262): 7 killed by signal 11: Segmentation fault",
    "(00.010) Error (criu/cr-restore.c:1258): 7 exited, status=1",
    "(00.010) Error (criu/pagemap.c:426): Reached EOF unexpectedly while reading page from image",
    "(00.010) Error (criu/cpu.c:297): CPU capabilities do not match run time",
]
NODES = [
    "(00.010) Error (criu/util.c:458): Can't transfer data to ghost file: No space left on device",
    "(00.010) Error (criu/cr-restore.c:1230): Can't fork for 7: Cannot allocate memory",
    "(00.010) Error (criu/kerndat.c:1962): check_pagemap failed when initializing kerndat.",
    "(00.010) Error (criu/cgroup.c:617): Unable to mount the cgroup (cpu) file system: Device busy",
    "(00.010) Error (criu/cr-restore.c:1262): 7 killed by signal 9: Killed",
    "(00.010) Error (criu/mount.c:2236): Unable to mount proc /proc (id=9): Operation not permitted",
]


@pytest.mark.parametrize("line", CHECKPOINTS_OWN)
def test_what_criu_finds_wrong_with_the_images_is_the_checkpoints_fault(line: str) -> None:
    assert whose("criu", ["(00.001) Running pre-restore scripts", line]) is Fault.CHECKPOINT


@pytest.mark.parametrize("line", NODES)
def test_what_criu_lacks_on_the_node_is_the_nodes_fault(line: str) -> None:
    assert whose("criu", ["(00.001) Running pre-restore scripts", line]) is Fault.NODE


def test_the_first_error_decides_for_the_others_follow_from_it() -> None:
    assert whose("criu", [CHECKPOINTS_OWN[0], NODES[4]]) is Fault.CHECKPOINT
    assert whose("criu", [NODES[4], CHECKPOINTS_OWN[0]]) is Fault.NODE


def test_a_harmless_error_decides_nothing() -> None:
    harmless = "(00.01) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE: Operation not permitted"
    assert whose("criu", [harmless, CHECKPOINTS_OWN[0]]) is Fault.CHECKPOINT
    assert first_error([harmless]) is None


def test_errors_without_their_place_as_an_outcome_gives_them() -> None:
    detail = "runc restore ended with status 1: File a has bad size 7; 7 killed by signal 9: Killed"
    assert whose("criu", [detail]) is Fault.CHECKPOINT
    assert whose("criu", ["runc restore ended with status 1: 7 killed by signal 9: Killed"]) is Fault.NODE


@pytest.mark.parametrize(
    "said",
    [
        [],
        ["(00.001) Running pre-restore scripts", "(00.002) Restoring namespaces"],
        ["runc restore ended with status 1: CRIU left no log (No such file or directory)"],
        ["CRIU is not installed at /usr/sbin/criu: install CRIU 4.1 or newer"],
    ],
)
def test_a_criu_that_did_not_run_to_its_end_is_the_nodes_fault(said: list[str]) -> None:
    assert whose("criu", said) is Fault.NODE


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_full_disk_is_the_nodes_fault_at_every_stage(stage: str) -> None:
    assert whose(stage, ["[Errno 28] No space left on device: '/x'"]) is Fault.NODE


def test_every_step_of_a_restore_is_in_the_table() -> None:
    assert set(NAMES) <= STAGES.keys()


@pytest.mark.parametrize("stage", ["lease", "criu-missing", "disk-full", "layer", "shm"])
def test_stages_of_the_node_do_not_quarantine_a_checkpoint(stage: str) -> None:
    assert whose(stage, ["anything"]) is Fault.NODE


@pytest.mark.parametrize("stage", ["check", "memory", "health", "credentials", "deadline", "never heard of"])
def test_stages_of_the_checkpoint_and_unknown_ones_do(stage: str) -> None:
    assert whose(stage, ["anything"]) is Fault.CHECKPOINT


def test_a_gpu_without_memory_is_the_nodes_a_failed_cuda_restore_the_checkpoints() -> None:
    assert whose("cuda", ["cuCheckpointProcessRestore: CUDA_ERROR_OUT_OF_MEMORY"]) is Fault.NODE
    assert whose("cuda", ["cuCheckpointProcessRestore: CUDA_ERROR_INVALID_VALUE"]) is Fault.CHECKPOINT


@pytest.mark.parametrize(
    "said",
    [
        "CUDA_ERROR_STUB_LIBRARY (34): CUDA driver is a stub library",
        "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803): system has unsupported display driver / cuda driver combination",
        "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE (804): forward compatibility was attempted on non supported HW",
    ],
)
def test_a_driver_that_does_not_fit_this_node_is_the_nodes_fault(said: str) -> None:
    for words in (said, said.partition(": ")[2]):
        assert whose("cuda", [f"cuInit: {words}"]) is Fault.NODE


@pytest.mark.parametrize("stage", ["layer", "volumes"])
def test_a_damaged_tree_is_the_checkpoints_fault_at_any_stage(stage: str) -> None:
    said = "the captured tree /c/layer/tree is damaged: its fingerprint is 1f, 2e was captured"
    assert whose(stage, [said]) is Fault.CHECKPOINT
    assert whose(stage, [f"{said}: No space left on device"]) is Fault.NODE


def test_every_stage_is_reported_with_whose_fault_it_is() -> None:
    """The table of docs/cache.md is the one in use."""
    whose_words = {"checkpoint": "the checkpoint's", "node": "the node's", "workload": "the new pod's"}
    with open(f"{os.path.dirname(os.path.abspath(__file__))}/../docs/cache.md") as file:
        table = file.read().partition("| failed at | whose fault |")[2].partition("\n\n")[0].lower()
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    reported = {stage: said for stages, said in rows for stage in stages.replace(" ", "-").split(",-")}
    for stage, fault in STAGES.items():
        if stage not in ("criu", "cuda"):  # by what they said
            assert reported[stage].startswith(whose_words[fault]), stage
