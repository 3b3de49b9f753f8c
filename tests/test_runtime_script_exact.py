"""glowplug-runtime passes on exactly what it gets: environment, signals, descriptors, directory; by any shell.

runc is played by a program that writes down how it was called, in C: an interpreter would change some of it.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "shim/glowplug-runtime"
BUSYBOX = SCRIPT.parent.parent / ".build/busybox/bin/busybox"

RECORDER = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
extern char **environ;
static char line[4096];
int main(int argc, char **argv) {
    int fd, open_fds = 0;
    for (fd = 0; fd < 3; fd++) open_fds |= (fcntl(fd, F_GETFD) != -1) << fd;
    FILE *out = fopen(getenv("RECORD"), "w");
    fprintf(out, "open=%d%c", open_fds, 0);
    fprintf(out, "pid=%d%c", (int)getpid(), 0);
    FILE *status = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, status))
        if (!__builtin_strncmp(line, "SigBlk", 6) || !__builtin_strncmp(line, "SigIgn", 6))
            fprintf(out, "%.6s=%.16s%c", line, line + 8, 0);
    fclose(status);
    for (int at = 1; at < argc; at++) fprintf(out, "arg=%s%c", argv[at], 0);
    for (char **entry = environ; *entry; entry++) fprintf(out, "env=%s%c", *entry, 0);
    return fclose(out);
}
"""


class Recorded:
    """What the program in runc's place got, and what the caller saw."""

    def __init__(self, record: Path, status: int, stderr: bytes) -> None:
        self.status = status
        self.stderr = stderr
        parts = [part.partition(b"=")[::2] for part in record.read_bytes().split(b"\0") if part]
        self.arguments = [value for name, value in parts if name == b"arg"]
        self.environment = [value for name, value in parts if name == b"env"]
        self.facts = {name: value for name, value in parts if name not in (b"arg", b"env")}


class Caller:
    """Calls the script as the kernel would, with one shell or another in /bin/sh's place."""

    def __init__(self, directory: Path, recorder: Path, shell: str) -> None:
        self.directory = directory
        self.record = directory / "record"
        self.variables = [b"RECORD=" + os.fsencode(self.record), b"GLOWPLUG_RUNC=" + os.fsencode(recorder)]
        first = SCRIPT.read_text().partition("\n")[0]
        program, argument = first.removeprefix("#!").split(" ", 1)
        self.begin = [program, argument.replace("/bin/sh", shell, 1), str(SCRIPT)]

    def __call__(self, *arguments: str, env: Sequence[bytes] = (), setup: str = "") -> Recorded:
        """setup: statements for the process that becomes the script; they see `os`, `signal` and `sys`."""
        self.record.unlink(missing_ok=True)
        words = [*self.begin, *arguments]
        environment = [*env, *self.variables]
        program = (
            "import ctypes, os, signal, sys\n"
            f"words = {[os.fsencode(word) for word in words]!r}\nenv = {environment!r}\n{setup}\n"
            "def vector(items): return (ctypes.c_char_p * (len(items) + 1))(*items, None)\n"
            "ctypes.CDLL(None).execve(words[0], vector(words), vector(env))\nos._exit(99)\n"
        )
        (self.directory / "caller.py").write_text(program)
        done = subprocess.run(
            [sys.executable, "-IS", "caller.py"], capture_output=True, cwd=self.directory, timeout=60
        )
        return Recorded(self.record, done.returncode, done.stderr)


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("recorder")
    (directory / "recorder.c").write_text(RECORDER)
    subprocess.run(["gcc", "-o", "recorder", "recorder.c"], cwd=directory, check=True, timeout=120)
    return directory / "recorder"


@pytest.fixture(params=["sh", "bash", "busybox"])
def call(request: pytest.FixtureRequest, tmp_path: Path, recorder: Path) -> Iterator[Caller]:
    name = str(request.param)
    found = shutil.which(name) or (str(BUSYBOX) if name == "busybox" and BUSYBOX.exists() else None)
    if found is None:
        pytest.skip(f"no {name} here")
    shell = tmp_path / "sh"
    shell.symlink_to(found)
    yield Caller(tmp_path, recorder, str(shell))


PATH = b"PATH=" + os.fsencode(os.environ["PATH"])

OURS_AND_THE_SHELLS = (
    *("id", "root", "log", "verb", "run", "runc", "arg", "some", "bundle", "before", "want", "pwd", "self"),
    *("here", "main", "python", "dir", "ready", "started", "restore", "words", "status", "name", "x", "_"),
    *("IFS", "OPTIND", "OPTARG", "OPTERR", "PPID", "PS1", "PS2", "PS3", "PS4", "LINENO", "PWD", "OLDPWD"),
    *("SHLVL", "SHELLOPTS", "BASHOPTS", "BASH", "BASH_ARGV0", "BASH_ENV", "BASH_VERSION", "ENV", "RANDOM"),
    *(
        "SECONDS",
        "UID",
        "EUID",
        "GROUPS",
        "HOSTNAME",
        "HOSTTYPE",
        "OSTYPE",
        "MACHTYPE",
        "DIRSTACK",
        "FUNCNAME",
    ),
    *("PIPESTATUS", "EPOCHSECONDS", "EPOCHREALTIME", "SRANDOM", "COLUMNS", "LINES", "HISTCMD", "HISTFILE"),
    *(
        "POSIXLY_CORRECT",
        "CDPATH",
        "MAIL",
        "MAILPATH",
        "MAILCHECK",
        "TMOUT",
        "COMP_WORDBREAKS",
        "HOME",
        "TERM",
    ),
    *("LC_ALL", "LANG", "LC_CTYPE", "GLOBIGNORE", "IGNOREEOF", "REPLY", "SHELL", "POSIX", "FIGNORE"),
)


@pytest.mark.parametrize(
    "value",
    [
        b"noexec",
        b"/",
        b"",
        b"7",
        b"two\nlines\n",
        b"'\"$(exit 3)`exit 3`\\ * ?",
        b"\xff\xe4\x81\x82\x88\x01",
        b"=",
    ],
    ids=repr,
)
def test_variables_of_any_name_arrive_as_they_were(call: Caller, value: bytes) -> None:
    env = [PATH, *(name.encode() + b"=" + value for name in OURS_AND_THE_SHELLS)]
    seen = call("--root", "/r", "state", "x", env=env)
    assert sorted(seen.environment) == sorted([*env, *call.variables])
    assert (seen.arguments, seen.stderr) == ([b"--root", b"/r", b"state", b"x"], b"")


@pytest.mark.parametrize("part", range(4))
def test_one_that_is_not_there_is_not_made(call: Caller, part: int) -> None:
    env = [PATH, *(name.encode() + b"=/odd value" for name in OURS_AND_THE_SHELLS[part::4])]
    assert sorted(call("state", "x", env=env).environment) == sorted([*env, *call.variables])


def test_nothing_at_all_is_added(call: Caller) -> None:
    assert sorted(call("state", "x", env=[PATH]).environment) == sorted([PATH, *call.variables])


@pytest.mark.parametrize("path", [b"/nowhere", b"", b":", b"relative"])
def test_a_PATH_without_programs_does_no_harm(call: Caller, path: bytes) -> None:
    env = [b"PATH=" + path, b"PWD=/where the caller was", b"OLDPWD=/before"]
    assert sorted(call("state", "x", env=env).environment) == sorted([*env, *call.variables])


def test_of_a_variable_that_is_set_twice_the_first_arrives(call: Caller) -> None:
    """As runc itself would read it (Go's os.Getenv, C's getenv)."""
    seen = call("state", "x", env=[PATH, b"PWD=/a", b"PWD=/b"])
    assert [entry for entry in seen.environment if entry.startswith(b"PWD=")][:1] == [b"PWD=/a"]


@pytest.mark.parametrize(
    "env",
    [
        [b"SHELLOPTS=noexec"],
        [b"SHELLOPTS=errexit:nounset:noglob:xtrace:verbose:noclobber"],
        [b"BASH_ENV=/nowhere", b"ENV=/nowhere"],
        [
            b"BASH_FUNC_test%%=() { exit 7; }",
            b"BASH_FUNC_[%%=() { exit 7; }",
            b"BASH_FUNC_env%%=() { exit 7; }",
        ],
        [
            b"BASH_FUNC_exec%%=() { exit 7; }",
            b"BASH_FUNC_eval%%=() { exit 7; }",
            b"BASH_FUNC_read%%=() { exit 7; }",
        ],
        [b"LC_ALL=xx_NOWHERE.UTF-8", b"LANG=xx_NOWHERE.UTF-8"],
        [b"POSIXLY_CORRECT=1"],
        [b"IFS=/-=", b"OPTIND=none"],
        [b"IFS=:=", b"PWD=:="],
        [b"IFS=:=:", b"OPTIND=:=:", b"PWD=--"],
    ],
    ids=lambda env: repr(env)[:50],
)
def test_what_a_shell_is_known_by_its_environment_changes_no_word(call: Caller, env: list[bytes]) -> None:
    seen = call("--root", "/a b", "exec", "* ?", "'\"$(exit 7)", "", "-n", env=[PATH, *env])
    assert seen.arguments == [b"--root", b"/a b", b"exec", b"* ?", b"'\"$(exit 7)", b"", b"-n"]
    assert (seen.status, seen.stderr) == (0, b"")


# Not SIGCHLD, which shells need for themselves.
BLOCKED = {signal.SIGUSR1, signal.SIGTERM, signal.SIGRTMAX}
MASK = b"%016x" % sum(1 << (number - 1) for number in BLOCKED)


@pytest.mark.parametrize("verb", [["state", "x"], ["create", "--bundle", "/nowhere", "x"], ["delete", "x"]])
def test_blocked_and_ignored_signals_stay_so(call: Caller, tmp_path: Path, verb: list[str]) -> None:
    setup = (
        f"signal.pthread_sigmask(signal.SIG_SETMASK, {set(map(int, BLOCKED))!r})\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL); signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGQUIT, signal.SIG_DFL)"  # a shell ignores it in what it starts in the background
    )
    env = [PATH, b"GLOWPLUG_RUN_DIR=" + os.fsencode(tmp_path / "run")]
    (tmp_path / "run/restores/y").mkdir(parents=True)
    seen = call(*verb, env=env, setup=setup)
    ignored = 1 << (signal.SIGINT - 1) | 1 << (signal.SIGHUP - 1)
    assert seen.facts[b"SigBlk"] == MASK
    assert int(seen.facts[b"SigIgn"], 16) & ~(1 << (signal.SIGCHLD - 1)) == ignored


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize(
    "verb", [["state", "x"], ["create", "--bundle", "/nowhere", "x"]], ids=lambda verb: verb[0]
)
def test_closed_standard_descriptors_stay_closed(
    call: Caller, tmp_path: Path, verb: list[str], closed: tuple[int, ...]
) -> None:
    env = [PATH, b"GLOWPLUG_RUN_DIR=" + os.fsencode(tmp_path / "run")]
    seen = call(*verb, env=env, setup="".join(f"os.close({fd})\n" for fd in closed))
    assert int(seen.facts[b"open"]) == 7 & ~sum(1 << fd for fd in closed)
    assert (seen.status, seen.stderr) == (0, b"")


@pytest.mark.parametrize("env", [[], [b"PWD=/gone"], [b"PWD="]], ids=repr)
@pytest.mark.parametrize("verb", [["state", "x"], ["create", "x"]], ids=lambda verb: verb[0])
def test_a_working_directory_that_is_gone_is_nobody_s_business(
    call: Caller, tmp_path: Path, verb: list[str], env: list[bytes]
) -> None:
    setup = "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')"
    added = [PATH, b"GLOWPLUG_RUN_DIR=" + os.fsencode(tmp_path / "run"), *env]
    seen = call(*verb, env=added, setup=setup)
    assert (seen.status, seen.stderr) == (0, b"")
    assert sorted(seen.environment) == sorted([*added, *call.variables])


@pytest.mark.parametrize("kilobytes", [16, 120, 1000])
def test_a_large_environment_arrives(call: Caller, kilobytes: int) -> None:
    env = [PATH, b"PWD=/", *(b"LARGE_%d=" % at + b"x" * 1000 for at in range(kilobytes))]
    assert sorted(call("state", "x", env=env).environment) == sorted([*env, *call.variables])


def test_the_script_without_its_first_line_reaches_runc_too(recorder: Path, tmp_path: Path) -> None:
    for shell in ("sh", "bash", str(BUSYBOX)):
        if not shutil.which(shell):
            continue
        added = {
            "RECORD": str(tmp_path / "record"),
            "GLOWPLUG_RUNC": str(recorder),
            "PATH": os.environ["PATH"],
        }
        env = {**added, "PWD": "/elsewhere", "PPID": "none", "IFS": "x", "_": "/x", "OLDPWD": "/nowhere"}
        words = [shell, *(["sh"] if shell == str(BUSYBOX) else []), str(SCRIPT)]
        subprocess.run([*words, "state", "a b"], env=env, check=True, timeout=60)
        seen = Recorded(tmp_path / "record", 0, b"")
        assert sorted(seen.environment) == sorted(f"{name}={value}".encode() for name, value in env.items())
        assert seen.arguments == [b"state", b"a b"]


def programs(directory: Path, *names: str) -> Path:
    """A directory of PATH with programs that say where they are."""
    directory.mkdir()
    for name in names:
        (directory / name).write_text(f"#!/bin/sh\necho {directory}/{name} $*\n")
        (directory / name).chmod(0o755)
    return directory


def answer(path: str, script: Path = SCRIPT) -> str:
    done = subprocess.run(
        [script, "--version"], env={"PATH": path}, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_runc_is_the_one_of_the_caller_s_PATH(tmp_path: Path) -> None:
    first, second = programs(tmp_path / "first", "other"), programs(tmp_path / "second", "runc")
    assert answer(f"relative::{first}:{second}:{os.environ['PATH']}") == f"{second}/runc --version"


def test_runc_is_never_the_script_itself(tmp_path: Path) -> None:
    """Under runc's name, where it comes before the real one."""
    other = programs(tmp_path / "other", "runc")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/runc").symlink_to(SCRIPT)
    assert answer(f"{tmp_path}/ours:{other}") == f"{other}/runc --version"
    assert answer(f"{tmp_path}/ours:{other}", tmp_path / "ours/runc") == f"{other}/runc --version"


def test_the_first_line_is_one_that_the_kernel_takes() -> None:
    """It reads 256 bytes of a program (BINPRM_BUF_SIZE), and cuts without a word what is longer."""
    assert len(SCRIPT.read_bytes().partition(b"\n")[0]) < 255
