"""glowplug-runtime as the shim calls it: what is not ours reaches runc exactly, also from a damaged installation.

runc is played by a program that writes down how it was called: its arguments, environment, directory and
descriptors, which the real one would not tell.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from glowplug.runtime import argv

SHIM = Path(__file__).parent.parent / "shim"

RECORDER = """#!{python} -IS
import os, sys
def target(fd):
    try: return os.readlink(f"/proc/self/fd/{{fd}}")
    except OSError: return None
found = {{
    "argv": sys.argv[1:], "cwd": os.getcwd(), "pid": os.getpid(),
    "env": dict(part.split("=", 1) for part in open("/proc/self/environ").read().split("\\0") if part),
    "fds": {{str(fd): target(fd) for fd in range(256) if target(fd)}},
}}
import json
open({record!r}, "w").write(json.dumps(found))
sys.stdout.write("said by runc")
sys.exit(43)
"""

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


class Called:
    """One call of the script, and what the recorder saw."""

    def __init__(
        self,
        directory: Path,
        arguments: list[str],
        env: Mapping[str, str],
        script: Path = SHIM / "glowplug-runtime",
    ) -> None:
        record = directory / "record.json"
        runc = directory / "runc"
        runc.write_text(RECORDER.format(python=sys.executable, record=str(record)))
        runc.chmod(0o755)
        (directory / "cwd").mkdir(exist_ok=True)
        self.extra = os.memfd_create("passed on")
        os.set_inheritable(self.extra, True)
        self.env = {"GLOWPLUG_RUNC": str(runc), "GLOWPLUG_RUN_DIR": str(directory / "run"), **env}
        process = subprocess.Popen(
            [str(script), *arguments],
            env=self.env,
            cwd=directory / "cwd",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[self.extra],
        )
        self.pid = process.pid
        self.out, self.err = process.communicate(b"", timeout=30)
        self.status = process.returncode
        os.close(self.extra)
        self.seen = json.loads(record.read_text())


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
    # the recorder's own script is the one other descriptor that an interpreter may hold
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


CREATE = [
    "--root",
    "{root}",
    "--log",
    "{log}",
    "create",
    "--bundle",
    "{bundle}",
    "--pid-file",
    "{bundle}/pid",
    "c1",
]


def eligible_bundle(directory: Path) -> list[str]:
    """A bundle as CRI writes it, and the create that goes with it."""
    bundle = directory / "bundle"
    bundle.mkdir()
    spec = {
        "ociVersion": "1.0.2",
        "process": {"args": ["true"], "cwd": "/", "env": []},
        "root": {"path": "rootfs"},
        "annotations": {
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.sandbox-id": "s1",
            "io.kubernetes.cri.sandbox-name": "pod",
            "io.kubernetes.cri.sandbox-namespace": "ns",
            "io.kubernetes.cri.container-name": "main",
        },
        "linux": {
            "cgroupsPath": "/x/c1",
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
        },
    }
    (bundle / "config.json").write_text(json.dumps(spec))
    named = {"root": directory / "root", "log": bundle / "log.json", "bundle": bundle}
    return [word.format(**named) for word in CREATE]


def outcomes(directory: Path) -> list[str]:
    return [
        json.loads(file.read_text())["outcome"]
        for file in sorted((directory / "run/outcomes").glob("*.json"))
    ]


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
def test_a_spec_that_is_none_is_left_to_runc(tmp_path: Path, text: bytes) -> None:
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
        timeout=30,
    )
    modules = {name for name in done.stdout.split() if not name.startswith("glowplug") and name != "__main__"}
    assert modules - ALLOWED == set()


def prepared(directory: Path) -> list[str]:
    """An agent's decision, ahead of the create whose arguments these are: a cold start with an edited spec."""
    arguments = eligible_bundle(directory)
    ready = directory / "run/prepared/c1"
    ready.mkdir(parents=True)
    (directory / "run/outcomes").mkdir()
    texts = {"spec": (directory / "bundle/config.json").read_text(), "edited": "edited", "outcome": "{}"}
    for name, text in texts.items():
        (ready / f"{name}.json").write_text(text)
    return arguments


NO_PYTHON = {"GLOWPLUG_PYTHON": "/nowhere/python3", "PATH": os.environ["PATH"]}


def test_a_prepared_cold_start_needs_no_python(tmp_path: Path) -> None:
    arguments = prepared(tmp_path)
    called = Called(tmp_path, arguments, NO_PYTHON)
    assert (called.seen["argv"], called.seen["env"]) == (arguments, called.env)
    assert (called.seen["pid"], called.status) == (called.pid, 43)
    assert (called.out, called.err) == (b"said by runc", b"")
    assert (tmp_path / "bundle/config.json").read_text() == "edited"
    assert [file.name for file in (tmp_path / "run/outcomes").iterdir()] == ["c1.prepared"]


def test_a_prepared_start_of_a_sandbox_has_no_outcome(tmp_path: Path) -> None:
    arguments = prepared(tmp_path)
    for name in ("edited", "outcome"):
        (tmp_path / f"run/prepared/c1/{name}.json").unlink()
    called = Called(tmp_path, arguments, {"PATH": os.environ["PATH"]})
    assert called.seen["argv"] == arguments
    assert list((tmp_path / "run/outcomes").iterdir()) == []


def spec_differs(run: Path) -> None:
    (run / "prepared/c1/spec.json").write_text("{}")


def was_used(run: Path) -> None:
    (run / "outcomes/c1.prepared").write_text("")


def restore_is_under_way(run: Path) -> None:
    (run / "restores/c2").mkdir(parents=True)


def checkpoint_came(run: Path) -> None:
    os.utime(run / "prepared/c1", (0, 0))
    (run / "published").write_text("")


def edit_fails(run: Path) -> None:
    (run / "prepared/c1/edited.json").unlink()
    (run / "prepared/c1/edited.json").mkdir()


@pytest.mark.parametrize(
    "change", [spec_differs, was_used, restore_is_under_way, checkpoint_came, edit_fails]
)
def test_what_was_prepared_and_holds_no_longer_is_asked_anew(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    arguments = prepared(tmp_path)
    change(tmp_path / "run")
    called = Called(tmp_path, arguments, {"PATH": os.environ["PATH"]})
    assert (called.seen["argv"], called.err) == (arguments, b"")
    assert outcomes(tmp_path) == ["cold:no-agent"]
    assert (tmp_path / "run/outcomes/c1.prepared").exists() == (change is was_used)


def test_start_of_a_restored_container_is_done_already(tmp_path: Path) -> None:
    marker = tmp_path / "root/c1/glowplug"
    marker.parent.mkdir(parents=True)
    marker.write_text("")
    done = subprocess.run(
        [SHIM / "glowplug-runtime", "--root", tmp_path / "root", "start", "c1"],
        env={"GLOWPLUG_RUNC": "/bin/false", "PATH": os.environ["PATH"]},
        timeout=30,
    )
    assert done.returncode == 0


@pytest.mark.parametrize("restored", [True, False])
@pytest.mark.parametrize(
    "arguments",
    [["kill", "c1", "15"], ["kill", "--all", "c1", "9"], ["kill", "c1"], ["kill", "-a", "c1"], ["kill", "c1", "KILL"]],
    ids=" ".join,
)
def test_a_signal_to_a_restored_container_is_noted_and_sent(
    tmp_path: Path, arguments: list[str], restored: bool
) -> None:
    """The note tells `delete` that the end was asked for; runc gets the signal in any case."""
    state = tmp_path / "root/c1"
    state.mkdir(parents=True)
    if restored:
        (state / "glowplug").write_text("")
    done = subprocess.run(
        [SHIM / "glowplug-runtime", "--root", tmp_path / "root", *arguments],
        env={"GLOWPLUG_RUNC": "/bin/echo", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == f"--root {tmp_path}/root {' '.join(arguments)}\n"
    assert (state / "glowplug.stopped").exists() is restored


def test_a_note_that_can_t_be_written_keeps_no_signal_from_runc(tmp_path: Path) -> None:
    (tmp_path / "root/c1/glowplug.stopped").mkdir(parents=True)
    (tmp_path / "root/c1/glowplug").write_text("")
    done = subprocess.run(
        [SHIM / "glowplug-runtime", "--root", tmp_path / "root", "kill", "c1", "15"],
        env={"GLOWPLUG_RUNC": "/bin/echo", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == (f"--root {tmp_path}/root kill c1 15\n", "")


TAKES_BACK = """#!/bin/sh
# In Python's place: how it ends as `create`, then what its --take-back does.
case "$*" in
    *--take-back*) echo take-back >>{here}/calls; {take_back} ;;
    *) echo create >>{here}/calls; {create} ;;
esac
"""

ATTEMPT = "mkdir -p {here}/run/restores/c1"
GONE = "rmdir {here}/run/restores/c1"


@pytest.mark.parametrize(
    ("create", "take_back", "status", "calls"),
    [
        (f"{ATTEMPT}; exit 92", f"{GONE}; exit 92", 43, 2),
        (f"{ATTEMPT}; exit 1", f"{GONE}; exit 1", 43, 2),
        (f"{ATTEMPT}; kill -9 $$", f"{GONE}; kill -9 $$", 43, 2),
        (f"{ATTEMPT}; kill -24 $$", f"{GONE}; exit 92", 43, 2),
        (f"{ATTEMPT}; kill -9 $$", "exit 90", 0, 2),
        (f"{ATTEMPT}; kill -9 $$", "exit 91", 1, 2),
        (f"{ATTEMPT}; exit 92", "exit 92", 1, 4),
        (f"{ATTEMPT}; exit 92", "kill -9 $$", 1, 4),
        ("kill -9 $$", "exit 92", 43, 2),
        ("kill -9 $$", "exit 90", 0, 2),
        ("exit 92", "exit 91", 43, 1),
        ("exit 90", "exit 91", 0, 1),
    ],
)
def test_runc_creates_nothing_while_an_attempt_is_there(
    tmp_path: Path, create: str, take_back: str, status: int, calls: int
) -> None:
    """However the runtime ended, and whatever its statuses say."""
    arguments = eligible_bundle(tmp_path)
    python = tmp_path / "python"
    texts = {"create": create.format(here=tmp_path), "take_back": take_back.format(here=tmp_path)}
    python.write_text(TAKES_BACK.format(here=tmp_path, **texts))
    python.chmod(0o755)
    (tmp_path / "run").mkdir()
    (tmp_path / "record.json").write_text("{}")
    called = Called(tmp_path, arguments, {"PATH": os.environ["PATH"], "GLOWPLUG_PYTHON": str(python)})
    assert (called.status, called.err) == (status, b"")
    assert (tmp_path / "calls").read_text().split() == ["create", *["take-back"] * (calls - 1)]
    assert bool(called.seen) is (status == 43)
    log = tmp_path / "bundle/log.json"
    if calls == 4:
        assert "can't be taken back" in json.loads(log.read_text())["msg"]


def test_an_attempt_and_no_python_is_no_runc(tmp_path: Path) -> None:
    arguments = eligible_bundle(tmp_path)
    (tmp_path / "run/restores/c1").mkdir(parents=True)
    (tmp_path / "record.json").write_text("{}")
    called = Called(tmp_path, arguments, NO_PYTHON)
    assert (called.status, called.err, called.seen) == (1, b"", {})


@pytest.mark.parametrize(
    ("verb", "option"),
    [(verb, option) for verb in ("create", "checkpoint") for option in argv.VERB_VALUES[verb]],
)
def test_the_value_of_an_option_is_not_the_id(tmp_path: Path, verb: str, option: str) -> None:
    """A path there is no id, and what has none goes to runc: Python would never see the verb."""
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\nexit 90\n")
    python.chmod(0o755)
    (tmp_path / "record.json").write_text("{}")
    arguments = ["--root", "/r", verb, f"-{option}" if len(option) == 1 else f"--{option}", "/a/path", "an-id"]
    called = Called(tmp_path, arguments, {"PATH": os.environ["PATH"], "GLOWPLUG_PYTHON": str(python)})
    assert (called.status, called.seen) == (0, {})
