"""hack/bootstrap-node.sh: what it refuses before it changes anything, and what it calls a version."""

import os
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from integration.waiting import wait_until

BOOTSTRAP = Path(__file__).parent.parent / "hack/bootstrap-node.sh"


def bootstrap(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([BOOTSTRAP, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prefix"], "--prefix: needs a path"),
        (["--prefix", "relative"], "--prefix: expected an absolute path, got 'relative'"),
        (["--prefix", "/with a blank"], "--prefix: expected a directory of plain letters"),
        (["--bogus"], "got '--bogus'"),
        (["extra"], "got 'extra'"),
        (["--offline", "/nowhere/at/all"], "--offline: /nowhere/at/all is not a directory"),
        (["--criu", "/nowhere/criu"], "--criu: /nowhere/criu is not a program"),
        (["--offline", "/tmp", "--download", "/tmp"], "expected"),
    ],
)
def test_the_bootstrap_takes_no_wrong_input(arguments: list[str], said: str) -> None:
    done = bootstrap(*arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert said in done.stderr


def test_the_bootstrap_takes_no_directory_that_others_use(tmp_path: Path) -> None:
    """A purge would remove what is theirs: /usr/local, say."""
    (tmp_path / "bin").mkdir()
    arguments = ["--no-handler", "--criu", "/bin/false", "--prefix", str(tmp_path)]
    done = bootstrap(*arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "for Glowplug alone" in done.stderr
    assert os.listdir(tmp_path) == ["bin"]


def needs_a_node() -> None:
    """Skips where the bootstrap would install packages."""
    python = subprocess.run(["/usr/bin/python3", "-c", "import ensurepip, venv"], capture_output=True)
    there = shutil.which("runc") and os.path.exists("/etc/ssl/certs/ca-certificates.crt")
    if os.geteuid() != 0 or python.returncode != 0 or not there:
        pytest.skip("needs root, and a machine with what the bootstrap installs")


@pytest.mark.parametrize(("says", "found"), [("Version: 3.17.1", "3.17.1"), ("oops", "none that runs")])
def test_an_old_criu_is_refused(tmp_path: Path, says: str, found: str) -> None:
    needs_a_node()
    criu, prefix = tmp_path / "criu", tmp_path / "prefix"
    criu.write_text(f"#!/bin/sh\necho '{says}'\n")
    criu.chmod(0o755)
    # Without wheels it would end a step later: nothing is ever installed by this test.
    none = tmp_path / "none"
    none.mkdir()
    done = bootstrap("--no-handler", "--criu", str(criu), "--prefix", str(prefix), "--offline", str(none))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"bootstrap-node: expected CRIU 4.1 or newer, got {found} at {criu}\n"
    assert os.listdir(prefix / "criu/bin") == []


def test_another_python_is_another_version(tmp_path: Path) -> None:
    """After an upgrade of the system the environment of the old one is no more; a new one is made beside it."""
    (tmp_path / "glowplug-0.1.0-py3-none-any.whl").write_text("ours")
    (tmp_path / "other-1-py3-none-any.whl").write_text("theirs")
    text = BOOTSTRAP.read_text()
    function = text[text.index("version_offline() {") :].partition("\n}\n")[0] + "\n}"

    def version(series: str) -> str:
        script = f"{function}\npython_series() {{ echo {series}; }}\noffline={tmp_path}\nversion_offline"
        return subprocess.run(["bash", "-euc", script], check=True, capture_output=True, text=True).stdout

    first = version("3.11")
    assert first.startswith("0.1.0-") and version("3.11") == first
    assert version("3.13") != first
    (tmp_path / "other-1-py3-none-any.whl").write_text("theirs, changed")
    assert version("3.11") != first


LISTENS = """import socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
time.sleep(600)
"""


@contextmanager
def containerd_of_k3s(address: Path, path: str) -> Iterator[None]:
    """A process that listens there, with this PATH."""
    process = subprocess.Popen([sys.executable, "-c", LISTENS, address], env={"PATH": path})

    def answers() -> bool:
        with socket.socket(socket.AF_UNIX) as caller, suppress(OSError):
            caller.connect(str(address))
            return True
        return False

    try:
        wait_until(answers, 60, "a listener")
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def write_settings(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """The script's step; whether it changed the configuration. The containerd that runs is like k3s': with a socket of
    its own, and a runc in a directory of its version that only its PATH names."""
    own, address, prefix = tmp_path / "data/d1/bin", tmp_path / "k3s.sock", tmp_path / "prefix"
    own.mkdir(parents=True)
    (tmp_path / "data/current").symlink_to("d1")
    (own / "runc").write_text("#!/bin/sh\n")
    (own / "runc").chmod(0o755)
    (prefix / "current/bin").mkdir(parents=True)
    (prefix / "current/bin/python").symlink_to(sys.executable)
    text = BOOTSTRAP.read_text().replace("/run/k3s/containerd/containerd.sock", str(address))
    names = ("containerd_of", "containerd_socket", "containerd_path", "find_runc", "lasting", "says")
    functions = [
        text[text.index(f"\n{name}() {{") :].partition("\n}\n")[0] + "\n}\n"
        for name in (*names, "write_settings")
    ]
    settings = f"CONFIG={tmp_path}/config.toml PREFIX={prefix} SOCKET={tmp_path}/plain.sock changed="
    script = f"{settings}\n{''.join(functions)}write_settings\necho $changed"
    env = {**os.environ, "PYTHONPATH": str(BOOTSTRAP.parent.parent / "shim")}

    def run() -> str:
        command = ["/bin/bash", "-euo", "pipefail", "-c", script]
        return subprocess.run(command, check=True, env=env, stdout=subprocess.PIPE, text=True).stdout.strip()

    with containerd_of_k3s(address, f"{own}:/usr/bin:/bin"):
        yield run


def settings_of_k3s(directory: Path) -> dict[str, str]:
    """By the name that k3s' next upgrade keeps."""
    return {
        "containerd_socket": f"{directory}/k3s.sock",
        "criu": f"{directory}/prefix/criu/bin/criu",
        "runc": f"{directory}/data/current/bin/runc",
    }


def test_the_settings_name_the_socket_and_the_runc_of_the_containerd_that_runs(
    tmp_path: Path, write_settings: Callable[[], str]
) -> None:
    assert write_settings() == "yes"
    assert tomllib.loads((tmp_path / "config.toml").read_text()) == settings_of_k3s(tmp_path)
    before = os.stat(tmp_path / "config.toml")
    assert write_settings() == ""
    assert os.stat(tmp_path / "config.toml") == before


def test_settings_that_say_nothing_of_them_are_completed(
    tmp_path: Path, write_settings: Callable[[], str]
) -> None:
    """As cloud-init or the installer's pod may have written them: the defaults are another node's."""
    text = '# ours\nrunc = "/own/runc"\n[registry]\nrepository = "x/y"\n'
    config = tmp_path / "config.toml"
    (tmp_path / "kept.toml").write_text(text)
    (tmp_path / "kept.toml").chmod(0o640)
    config.symlink_to("kept.toml")
    assert write_settings() == "yes"
    found = tomllib.loads(config.read_text())
    assert found == {**settings_of_k3s(tmp_path), "runc": "/own/runc", "registry": {"repository": "x/y"}}
    assert config.read_text().endswith(text)
    assert config.is_symlink() and config.stat().st_mode & 0o777 == 0o640
    assert write_settings() == ""
