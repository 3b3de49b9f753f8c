"""Real lines of CRIU and of the driver, and what a person gets them."""

from pathlib import Path

import pytest

from glowplug import known_errors
from glowplug.cache.fault import Fault, whose
from glowplug.criu import config
from glowplug.cuda.process_group import CudaLost

# As CRIU 4.2.1 writes them, behind "Error (criu/FILE.c:LINE): ".
LINES = (
    ("inet: Unsupported proto 262 for socket 2b3f1", "GODEBUG=multipathtcp=0"),
    ("inet: Unsupported proto 132 for socket 2b3f1", "does not know"),
    ("inet: Can't dump corked dgram socket 77", "UDP_CORK"),
    ("Can't restore not-sent send queue data (-1), want (0-65536:131072:65536): Broken pipe", "idle"),
    ("inet: Can't bind inet socket (id 12): Cannot assign requested address", "all addresses"),
    (
        "unix: Can't dump half of stream unix connection. name: (null); peer name: /run/a",
        "outside of the container",
    ),
    ("unix: Unix socket 812 without peer 811", "outside of the container"),
    ("unix: Dangling connection 919701", "has not accepted"),
    ("unix: Can't bind id 0x1b ino 9 addr /run/second: Address already in use", "taken"),
    ("Unseizable non-zombie 31470 found, state D, err -1/22", "vfork(2)"),
    ("Timeout reached. Try to interrupt: 0", "vfork(2)"),
    ("Can't dump file 7 of that type [600] (chr 10:229 /dev/fuse)", "close it"),
    ("Can't dump file 5 of that type [600] (unknown anon_inode:[io_uring])", "UV_USE_IO_URING=0"),
    ("Can't dump ghost file /tmp/a of 629145600 size, increase limit", "removed file"),
    ("File data/a.log has bad size 900 (expect 800)", "changed since"),
    ("Can't lookup mount=91 for fd=3 path=/gone", "mount that is gone"),
    ("Can't link var/link_remap.38 -> var/hl: No such file or directory", "another name"),
    ("fsnotify: \tCan't dump that handle", "watch"),
    ("mnt: 812:./proc/swaps doesn't have a proper root mount", "mount that no spec names"),
    ("Can't dump nested pid namespace for 812", "namespace inside"),
    ("File srv/model.bin has bad mode 0100600 (expect 0100644)", "changed since"),
    ("cpu: CPU capabilities do not match run time", "nodes alike"),
    ("31313 killed by signal 9: Killed", "out-of-memory"),
    ("Pid 812 do not match expected 7", "PID namespace"),
)


@pytest.mark.parametrize(("line", "reported"), LINES)
def test_a_line_of_criu(line: str, reported: str) -> None:
    said = f"{line}; Dumping FAILED."
    found = known_errors.explained(said)
    assert reported in found and found.endswith(f"(CRIU: {said})"), found
    assert whose("criu", [found]) is whose("criu", [said]), "whose fault it is must not change"


def test_an_unknown_line_comes_with_what_to_do_and_is_reported_as_criu_s() -> None:
    found = known_errors.explained("what nobody knows; Dumping FAILED.")
    assert known_errors.WHAT_TO_DO in found and found.endswith("(CRIU: what nobody knows; Dumping FAILED.)")
    assert whose("criu", [found]) is Fault.CHECKPOINT
    for nothing in ("CRIU left no log (No such file or directory)", "CRIU's log names no error"):
        assert whose("criu", [known_errors.explained(nothing)]) is whose("criu", [nothing]) is Fault.NODE


def test_who_waited_for_the_one_that_failed_is_not_the_reason() -> None:
    said = "Can't restore ticks; Restoring FAILED.; cg: cgroupd: recv req error: No such file or directory"
    assert "cgroup:" not in known_errors.explained(said).partition(" (CRIU")[0]
    assert "about a timer" in known_errors.explained(said, sources=["timerfd.c", "cr-restore.c", "cgroup.c"])


@pytest.mark.parametrize(
    ("source", "about"),
    [
        ("sk-unix.c", "a Unix socket"),
        ("mount-v2.c", "a mount"),
        ("ipc_ns.c", "semaphores"),
        ("restorer.c", "starting"),
    ],
)
def test_an_unknown_line_says_what_it_is_about(tmp_path: Path, source: str, about: str) -> None:
    log = tmp_path / "restore.log"
    log.write_text(
        "(00.1) 1: Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n"
        f"(00.2) 1: Error (criu/{source}:12): what nobody knows\n"
        "(00.3) Error (criu/cr-restore.c:2331): Restoring FAILED.\n"
    )
    said, sources = config.log_errors(str(log), 12), config.log_sources(str(log), 12)
    assert sources == [source, "cr-restore.c"]
    assert about in known_errors.explained(said, sources=sources)


def test_the_process_that_it_is_about() -> None:
    assert (
        known_errors.process("unix: Dangling connection 9; Dump files (pid: 31313) failed with -1") == 31313
    )
    assert known_errors.process("Dumping FAILED.") is None


# As the driver's cuGetErrorName and cuGetErrorString have them, behind the call and the process.
OF_THE_DRIVER = (
    ("INVALID_VALUE (1): invalid argument", "docs/gpu.md"),
    ("OUT_OF_MEMORY (2): out of memory", "raise the container's memory limit"),
    ("NOT_INITIALIZED (3): initialization error", "no CUDA state"),
    ("STUB_LIBRARY (34): CUDA driver is a stub library", "stubs directory"),
    ("DEVICE_UNAVAILABLE (46): CUDA-capable device(s) is/are busy or unavailable", "nvidia-smi"),
    ("NO_DEVICE (100): no CUDA-capable device is detected", "nvidia-smi"),
    ("ECC_UNCORRECTABLE (214): uncorrectable ECC error encountered", "Xid"),
    ("OPERATING_SYSTEM (304): OS call failed or operation not supported on this OS", "kernel log"),
    ("ILLEGAL_STATE (401): the operation cannot be performed in the present state", "no other program"),
    ("NOT_READY (600): device not ready", "while it is idle"),
    ("NOT_SUPPORTED (801): operation not supported", "docs/gpu.md"),
    ("SYSTEM_NOT_READY (802): system not yet initialized", "nvidia-fabricmanager"),
    (
        "SYSTEM_DRIVER_MISMATCH (803): system has unsupported display driver / cuda driver combination",
        "restart the node",
    ),
    (
        "COMPAT_NOT_SUPPORTED_ON_DEVICE (804): forward compatibility was attempted on non supported HW",
        "compat",
    ),
    ("UNKNOWN (999): unknown error", "Xid"),
)


@pytest.mark.parametrize(("result", "reported"), OF_THE_DRIVER)
def test_a_result_of_the_driver(result: str, reported: str) -> None:
    """By its name, or by the sentence alone, which is what NVIDIA's program prints."""
    name, sentence = f"CUDA_ERROR_{result}", result.partition(": ")[2]
    for said in (
        f"restore: cuCheckpointProcessRestore of process 12: {name}",
        f'restore: cuda-checkpoint --action restore --pid 12: exit status 1, it said: "{sentence}"',
    ):
        found = str(known_errors.of_driver(CudaLost(said)))
        assert reported in found.partition(" (driver: ")[0] and found.endswith(f" (driver: {said})"), found
        assert "; " not in found, "that separates errors"
        assert whose("cuda", [found]) is whose("cuda", [said]), "whose fault it is must not change"


def test_an_error_of_the_driver_stays_of_its_class() -> None:
    """A container is killed only where its CUDA is lost."""
    lost = known_errors.of_driver(
        CudaLost("restore: CUDA_ERROR_NOT_SUPPORTED (801): operation not supported")
    )
    assert type(lost) is CudaLost


@pytest.mark.parametrize(
    "said",
    [
        "restore process 12: the driver did not answer in time; kill the container",
        "cuCheckpointProcessLock of process 12: CUDA_ERROR_OF_TOMORROW (4711): what nobody knows",
    ],
)
def test_what_is_no_known_result_stays_as_it_is(said: str) -> None:
    error = CudaLost(said)
    assert known_errors.of_driver(error) is error
