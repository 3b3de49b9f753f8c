"""What CRIU is informed, and what is read from its log and its version."""

import os

import pytest

from glowplug.criu import config, program
from glowplug.errors import CriuError

LOG = """\
(00.000000) Version: 4.2.1 (gitid 0)
(00.039440) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.051463) Warn  (criu/files-reg.c:1881): Can't link  -> ./link_remap.34
(00.051468) Error (criu/files-reg.c:1165): trim failed: @link_remap.34@
(00.104391)      1: Error (criu/files-reg.c:2258): Can't link var/link_remap.38 -> var/hl: No such file
(00.123087) Error (criu/cr-restore.c:2331): Restoring FAILED.
"""


@pytest.fixture
def folder(tmp_path: os.PathLike[str]) -> str:
    return os.fspath(tmp_path)


def lines(text: str) -> set[str]:
    return set(text.splitlines())


def test_both_ends_agree_on_connections_and_locks() -> None:
    for text in (config.dump(), config.restore()):
        assert lines(text) >= {
            "network-lock skip",
            "tcp-established",
            "file-locks",
            "ext-unix-sk",
            "link-remap",
        }
        assert "tcp-close" not in text


def test_a_dump_records_cgroups_and_a_restore_leaves_them_alone() -> None:
    assert "manage-cgroups" not in config.dump()
    assert "manage-cgroups=ignore" in lines(config.restore())


def test_a_cgroup_namespace_gets_the_new_containers_cgroup_as_its_root() -> None:
    reported = lines(config.restore(cgroup="/kubepods/pod1/abc"))
    assert {"manage-cgroups=none", 'cgroup-root ":/kubepods/pod1/abc"'} <= reported
    assert "manage-cgroups=ignore" not in reported


def test_leave_stopped_and_the_script_are_written_only_when_requested() -> None:
    assert not {"leave-stopped", 'action-script "/run/gate.sh"'} & lines(config.restore())
    assert {"leave-stopped", 'action-script "/run/gate.sh"'} <= lines(
        config.restore(True, script="/run/gate.sh")
    )


def test_watched_paths_are_reported_for_the_dump() -> None:
    assert 'irmap-scan-path "/etc/app"' in lines(config.dump(("/etc/app", "/srv")))


@pytest.mark.parametrize("path", ["relative", "/a b", "/a\nb", '/a"b', "/a#b", "/a\\b", "/a\x07b"])
def test_a_path_that_would_be_read_as_something_else_is_refused(path: str) -> None:
    with pytest.raises(CriuError):
        config.dump((path,))


def test_the_last_errors_of_a_log_without_the_harmless_ones(folder: str) -> None:
    with open(f"{folder}/restore.log", "w") as file:
        file.write(LOG)
    said = config.log_errors(f"{folder}/restore.log")
    assert said == "Can't link var/link_remap.38 -> var/hl: No such file; Restoring FAILED."
    assert config.log_errors(f"{folder}/restore.log", 1) == "Restoring FAILED."


def test_a_log_that_says_nothing_or_is_missing_never_raises(folder: str) -> None:
    with open(f"{folder}/dump.log", "wb") as file:
        file.write(b"\xff\xfe\n" * 5)
    assert isinstance(config.log_errors(f"{folder}/dump.log"), str)
    assert isinstance(config.log_errors(f"{folder}/none.log"), str)


def test_a_long_line_is_cut(folder: str) -> None:
    with open(f"{folder}/dump.log", "w") as file:
        file.write(f"(00.1) Error (a.c:1): {'x' * 5000}\n")
    assert len(config.log_errors(f"{folder}/dump.log")) <= 300


def criu(folder: str, script: str) -> str:
    path = f"{folder}/criu"
    with open(path, "w") as file:
        file.write(f"#!/bin/sh\n{script}\n")
    os.chmod(path, 0o700)
    return path


@pytest.mark.parametrize(
    ("said", "version"), [("Version: 4.2.1", (4, 2, 1)), ("Version: 4.1\nGitID: v4.1-1-gabc", (4, 1, 0))]
)
def test_the_version(folder: str, said: str, version: tuple[int, int, int]) -> None:
    assert program.version(criu(folder, f"printf '{said}\\n'")) == version


@pytest.mark.parametrize("script", ["exit 1", "echo hello", "exec 1>&-"])
def test_a_program_that_names_no_version(folder: str, script: str) -> None:
    with pytest.raises(CriuError, match="version"):
        program.version(criu(folder, script))


def test_criu_that_is_not_there(folder: str) -> None:
    with pytest.raises(CriuError, match="not installed"):
        program.version(f"{folder}/criu")
