"""`glowplug node install` and `uninstall` on a containerd that runs, with pods on it: nothing of theirs changes."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration import images, processes
from integration.node import GLOWPLUG, RUNTIME, Node
from integration.pods import Pods
from integration.waiting import wait_until

COMMAND_S = 120.0


class Installed:
    """A node whose containerd has the stock handler alone, and a prefix as hack/bootstrap-node.sh makes it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.pods = Pods(node)
        self.config = Path(node.names.state) / "containerd.toml"
        self.prefix = Path(node.names.state) / "prefix"
        for version in ("1", "2"):
            shutil.copytree(os.path.dirname(RUNTIME), self.prefix / f"versions/{version}/bin")
        (self.prefix / "bin").mkdir()
        self.switch_to("1")
        (self.prefix / "bin/glowplug-runtime").symlink_to("../current/bin/glowplug-runtime")

    def switch_to(self, version: str) -> None:
        """Another version of Glowplug, as an upgrade does it: the link is replaced at once."""
        draft = self.prefix / "current.new"
        draft.symlink_to(f"versions/{version}")
        draft.rename(self.prefix / "current")

    @property
    def restart(self) -> str:
        """The node's keeper starts containerd again."""
        return f'kill "$(cat {self.node.names.state}/containerd.pid)"'

    def run(self, *arguments: str, restart: str | None = None) -> "subprocess.CompletedProcess[str]":
        """`glowplug node …` for this node."""
        place = ["--containerd-config", str(self.config), "--prefix", str(self.prefix)]
        if arguments[0] != "status":
            place += ["--restart-command", restart or self.restart]
        return subprocess.run(
            [GLOWPLUG, "node", *arguments, *place],
            env=self.node.env,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )

    def configuration(self) -> dict[str, bytes]:
        """Every file of containerd's."""
        state = Path(self.node.names.state)
        return {
            str(path): path.read_bytes()
            for path in [*state.glob("containerd.toml*"), *state.glob("conf.d/*")]
        }

    def outcomes(self) -> list[str]:
        """Of the starts that went through glowplug-runtime."""
        spool = Path(self.node.names.run_dir) / "outcomes"
        return [json.loads(path.read_text())["outcome"] for path in sorted(spool.glob("*.json"))]


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    if os.geteuid() != 0:
        pytest.skip("a private containerd needs root")
    with Node(runtime=None) as node:
        node.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        made = Installed(node)
        yield made
        made.pods.remove_all()


@pytest.fixture(autouse=True)
def nothing_left(installed: Installed) -> Iterator[None]:
    """The configuration is after each test what it was before, byte for byte."""
    before = installed.configuration()
    yield
    installed.pods.remove_all()
    installed.run("uninstall")
    assert installed.configuration() == before


def test_pods_continue_through_install_upgrade_and_uninstall(installed: Installed) -> None:
    before = installed.configuration()
    stock = installed.pods.run("stock", handler="runc").serving()
    pid, token = stock.pid, stock.get("/token")

    done = installed.run("install")
    assert done.returncode == 0, done.stderr
    assert "containerd was restarted and has the handler glowplug" in done.stdout
    assert installed.run("status").returncode == 0
    ours = installed.pods.run("ours", handler="glowplug").serving()
    kept = ours.get("/token")
    assert installed.outcomes() == ["cold:no-agent"]

    containerd = installed.node.containerd_pid()
    again = installed.run("install")
    assert again.returncode == 0 and "was not restarted" in again.stdout, again.stderr
    assert installed.node.containerd_pid() == containerd

    refused = installed.run("uninstall")
    assert refused.returncode == 1 and "default/ours" in refused.stderr
    assert installed.configuration() != before

    installed.switch_to("2")
    shutil.rmtree(installed.prefix / "versions/1")
    assert ours.exec("true").exit_code == 0
    forced = installed.run("uninstall", "--force")
    assert forced.returncode == 0, forced.stderr
    assert "kubectl cordon" in forced.stdout.splitlines()[-1]
    assert installed.configuration() == before
    assert installed.node.containerd_pid() != containerd

    assert ours.get("/token") == kept
    assert ours.stop(grace_s=5).state == "exited"
    ours.pod.remove()
    last = installed.run("uninstall")
    assert last.returncode == 0 and "cordon" not in last.stdout, last.stderr
    assert (stock.pid, stock.get("/token")) == (pid, token)


def test_a_containerd_that_does_not_come_back_is_put_back(installed: Installed) -> None:
    """The first restart leaves containerd down, the second, after the files were put back, brings it up."""
    stock = installed.pods.run("stock", handler="runc").serving()
    before, pid = installed.configuration(), stock.pid
    state = installed.node.names.state
    restart = (
        f"if [ -e {state}/down ]; then rm {state}/down; else touch {state}/down; {installed.restart}; fi"
    )
    done = installed.run("install", "--wait", "2", restart=restart)
    assert done.returncode == 1
    assert "everything was put back, and containerd runs as before" in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert installed.configuration() == before
    installed.node.wait_ready()
    assert stock.pid == pid and processes.is_alive(pid)
    with pytest.raises(Exception, match='no runtime for "glowplug"'):
        installed.pods.run("ours", handler="glowplug")


@pytest.mark.parametrize("restart", ["exit 3", "true"], ids=["fails", "does nothing"])
def test_a_restart_that_is_invalid_is_put_back(installed: Installed, restart: str) -> None:
    before, containerd = installed.configuration(), installed.node.containerd_pid()
    done = installed.run("install", "--wait", "1", restart=restart)
    assert done.returncode == 1 and "put back" in done.stderr
    assert installed.configuration() == before
    assert installed.node.containerd_pid() == containerd


def test_a_read_only_configuration_is_left_and_reported(installed: Installed) -> None:
    before = installed.configuration()
    folder = installed.node.names.state
    command = f'mount --bind {folder} {folder} && mount -o remount,bind,ro {folder} && exec "$@"'
    place = ["--containerd-config", str(installed.config), "--prefix", str(installed.prefix)]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command, "sh", GLOWPLUG, "node", "install", *place],
        env=installed.node.env,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
    )
    assert done.returncode == 1 and "its file system is read-only" in done.stderr
    assert installed.configuration() == before


def test_a_killed_install_is_finished_by_the_next(installed: Installed) -> None:
    """Killed after the edit: the file is as it should be, and the containerd that runs knows nothing of it."""
    before = installed.configuration()
    killed = installed.run("install", restart='kill -9 "$PPID"')
    assert killed.returncode == -9
    assert installed.configuration() != before
    wait_until(
        lambda: "no such handler" in installed.run("status").stdout, 10, "the handler configured alone"
    )
    done = installed.run("install")
    assert done.returncode == 0 and "containerd was restarted" in done.stdout, done.stderr


def rewritten(installed: Installed, before: dict[str, bytes]) -> None:
    """Somebody writes the main file as it was before the install."""
    draft = installed.config.with_suffix(".theirs")
    draft.write_bytes(before[str(installed.config)])
    draft.rename(installed.config)


def test_a_rewritten_configuration_is_repaired_by_the_agent(installed: Installed) -> None:
    """First while containerd still has the handler, so that nothing is restarted; then after it has lost it."""
    before = installed.configuration()
    assert installed.run("install").returncode == 0
    installed.node.start_agent()
    try:
        containerd = installed.node.containerd_pid()
        ours = installed.pods.run("ours", handler="glowplug").serving()
        token = ours.get("/token")
        rewritten(installed, before)
        wait_until(lambda: installed.run("status").returncode == 0, 30, "the file repaired")
        assert installed.node.containerd_pid() == containerd

        rewritten(installed, before)
        subprocess.run(["sh", "-c", installed.restart], check=True)
        wait_until(lambda: installed.node.containerd_pid() != containerd, 30, "containerd started again")
        # A file that is repaired just after containerd has read it waits for the next repair: after 10, 20, 40, 80 s.
        wait_until(lambda: installed.run("status").returncode == 0, 180, "the handler repaired")
        assert ours.get("/token") == token
        installed.pods.run("new", handler="glowplug").serving()
    finally:
        installed.node.stop_agent()


def test_an_uninstall_is_not_repaired(installed: Installed) -> None:
    before = installed.configuration()
    assert installed.run("install").returncode == 0
    assert installed.run("uninstall").returncode == 0
    done = subprocess.run(
        [GLOWPLUG, "node", "repair", "--prefix", str(installed.prefix)],
        env=installed.node.env,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
    )
    assert done.returncode == 2 and "no handler glowplug that was installed" in done.stderr
    assert installed.configuration() == before
