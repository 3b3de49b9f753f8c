"""glowplug-runtime as the shim calls it: what is not ours reaches runc exactly, also from a damaged installation.

runc is played by a program that writes down how it was called: its arguments, environment, directory and
descriptors, which the real one would not report."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.runtime_script.made import SHIM, Called, eligible_bundle, outcomes

VERBS = [
    ["state", "an-id"],
    ["--root", "/r", "--log", "/l/log.json", "--log-format", "json", "kill", "--all", "an-id", "9"],
    ["--root=/r", "exec", "--process", "/tmp/p with blank", "--detach", "--pid-file", "/x", "an-id"],
    ["features"],
    ["--root", "/r", "update", "--resources=-", "an-id"],
    ["--systemd-cgroup", "--root", "/r", "start", "an-id"],
    ["--root", "/r", "delete", "--force", "an-id"],
    ["--root", "/r", "create", "--bundle", "/none", "--pid-file", "/none/pid", "an-id"],
    ["--root", "/r", "restore", "--detach", "an-id"],
    [],
    ["--version"],
    ["", "* ?", "'\"$(exit 7)", "-n"],
]


@pytest.mark.parametrize("arguments", VERBS, ids=lambda words: " ".join(words)[:40] or "nothing")
def test_a_verb_that_is_not_ours_reaches_runc_as_it_came(tmp_path: Path, arguments: list[str]) -> None:
    called = Called(tmp_path, arguments, {"A": "1", "EMPTY": "", "PATH": os.environ["PATH"]})
    assert called.seen["argv"] == arguments
    assert called.seen["env"] == called.env
    assert called.seen["cwd"] == str(tmp_path / "cwd")
    assert called.seen["pid"] == called.pid
    assert (called.status, called.out, called.err) == (43, b"said by runc", b"")
    inherited = {fd for fd in called.seen["fds"] if int(fd) > 2}
    assert called.seen["fds"][str(called.extra)].startswith("/memfd:passed on")
    # the recorder's own script is the one other descriptor that an interpreter may have
    assert all(called.seen["fds"][fd].endswith(("runc", "environ")) for fd in inherited - {str(called.extra)})


@pytest.mark.parametrize(
    "env",
    [
        {"PWD": "{here}/cwd"},
        {"PWD": "/where the caller was"},
        {"PWD": ""},
        {"OLDPWD": "/tmp"},
        {"OTHER": "PWD=/tmp"},
        {"LINES": "one\ntwo\nPWD=/tmp", "PWD": "/"},
        {"LINES": "one\n\nPWD=/tmp"},
    ],
    ids=repr,
)
def test_a_caller_s_own_PWD_reaches_runc(tmp_path: Path, env: Mapping[str, str]) -> None:
    """And a shell's does not."""
    env = {name: value.format(here=tmp_path) for name, value in env.items()}
    called = Called(tmp_path, ["state", "x"], {**env, "PATH": os.environ["PATH"]})
    assert called.seen["env"] == called.env


def test_a_create_without_an_agent_is_runc_s_and_a_miss(tmp_path: Path) -> None:
    arguments = eligible_bundle(tmp_path)
    called = Called(tmp_path, arguments, {"PATH": os.environ["PATH"]})
    assert called.seen["argv"] == arguments
    assert called.seen["env"] == called.env
    assert called.seen["pid"] == called.pid
    assert (called.status, called.out, called.err) == (43, b"said by runc", b"")
    assert outcomes(tmp_path) == ["cold:no-agent"]


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b'{"annotations": 7}', b"[" * 100_000, b"\xff\xfe", b'{"annotations": {"a": 1}}'],
    ids=["empty", "cut", "list", "number", "deep", "bytes", "typed"],
)
def test_a_spec_that_is_invalid_is_left_to_runc(tmp_path: Path, text: bytes) -> None:
    arguments = eligible_bundle(tmp_path)
    (tmp_path / "bundle/config.json").write_bytes(text)
    called = Called(tmp_path, arguments, {"PATH": os.environ["PATH"]})
    assert called.seen["argv"] == arguments
    assert called.status == 43


def damaged(directory: Path, remove: str) -> Path:
    """A copy of the installation that lacks something."""
    shutil.copytree(SHIM, directory / "shim", ignore=shutil.ignore_patterns("__pycache__"))
    target = directory / "shim" / remove
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    return directory / "shim/glowplug-runtime"


@pytest.mark.parametrize(
    "gone",
    [
        "glowplug",
        "glowplug/runtime/main.py",
        "glowplug/runtime/create.py",
        "glowplug/checkpoint",
        "glowplug/errors.py",
        "glowplug/jsontext.py",
    ],
)
def test_runc_is_reached_with_a_module_gone(tmp_path: Path, gone: str) -> None:
    arguments = eligible_bundle(tmp_path)
    called = Called(tmp_path, arguments, {"PATH": os.environ["PATH"]}, damaged(tmp_path, gone))
    assert called.seen["argv"] == arguments
    assert (called.status, called.out, called.err) == (43, b"said by runc", b"")


@pytest.mark.parametrize("python", ["/nowhere/python3", "/bin/false", "/bin/true", "/etc/passwd"])
def test_runc_is_reached_with_python_gone_or_broken(tmp_path: Path, python: str) -> None:
    arguments = eligible_bundle(tmp_path)
    called = Called(tmp_path, arguments, {"PATH": os.environ["PATH"], "GLOWPLUG_PYTHON": python})
    assert called.seen["argv"] == arguments
    assert (called.status, called.out, called.err) == (43, b"said by runc", b"")


def test_a_module_with_an_error_in_it_is_as_good_as_gone(tmp_path: Path) -> None:
    script = damaged(tmp_path, "glowplug/outcomes/ask.py")
    (tmp_path / "shim/glowplug/outcomes/ask.py").write_text("def broken(:\n")
    arguments = eligible_bundle(tmp_path)
    called = Called(tmp_path, arguments, {"PATH": os.environ["PATH"]}, script)
    assert called.seen["argv"] == arguments
    assert (called.status, called.err) == (43, b"")


ALLOWED = {
    *(
        "abc",
        "_abc",
        "_codecs",
        "_collections_abc",
        "_frozen_importlib",
        "_frozen_importlib_external",
        "_imp",
    ),
    *(
        "_io",
        "_json",
        "_signal",
        "_socket",
        "_stat",
        "_thread",
        "_warnings",
        "_weakref",
        "builtins",
        "codecs",
    ),
    *("encodings", "encodings.aliases", "encodings.utf_8", "genericpath", "io", "marshal", "os", "os.path"),
    *("posix", "posixpath", "stat", "sys", "time", "zipimport", "_sysconfig", "winreg", "_datetime"),
}


def test_a_create_that_misses_imports_the_interpreter_s_own_and_ours_alone(tmp_path: Path) -> None:
    """Promise of the hot path: what `create` imports is counted."""
    arguments = eligible_bundle(tmp_path)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from glowplug.runtime import main;"
        "status = main.main('/bin/true', sys.argv[2:]); assert status == 92, status; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-IS", "-c", program, str(SHIM), *arguments],
        env={"GLOWPLUG_RUN_DIR": str(tmp_path / "run")},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules = {name for name in done.stdout.split() if not name.startswith("glowplug") and name != "__main__"}
    assert modules - ALLOWED == set()
