"""The installer's entry point: what it does on the node, seen by a program in nsenter's place; and its build file."""

import os
import re
import shutil
import signal
import subprocess
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from integration.waiting import wait_until

from glowplug.host import process
from glowplug.node import templates
from glowplug.node.purge import FROM_SECRET

REPOSITORY = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
IMAGE = f"{REPOSITORY}/runtime_config/image"
KEY = b"-----BEGIN PRIVATE KEY-----\n\0\xff\n\n"

# Runs what it gets after `--`, with paths of the node beneath a directory, and notes it.
NSENTER = """#!/bin/sh
[ "$1 $2" = "--target 1" ] || exit 99
while [ "$1" != -- ]; do shift; done
shift
case $* in *"env -i "*) ;; *) exit 98 ;; esac
while [ "${1#PATH=}" = "$1" ]; do shift; done
shift
echo "$*" >>"$NODE/log"
case $1 in
rm | mkdir | tar) ;;
sh) echo "$SYSTEM" && exit ;;
test) exec test -x "$NODE$3" ;;
systemctl) # is-active: for as often as the file has a character
    [ "$2" != is-active ] || [ -s "$NODE/active" ] || exit 3
    [ "$2" != is-active ] || truncate -s -1 "$NODE/active"
    [ "$*" != "$FAILS" ]; exit ;;
bash) [ -s "$NODE$2" ] && exec sh "$NODE$2" "$3" "$NODE$4" ;;
*) [ "$*" != "$FAILS" ]; exit ;;
esac
for word; do
    shift
    case $word in /*) word=$NODE$word ;; esac
    set -- "$@" "$word"
done
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Done:
    status: int
    said: str
    on_node: list[str]


class Installer:
    """The script, with its bundle and the node's root beneath a directory."""

    def __init__(self, directory: str) -> None:
        self.node = f"{directory}/node"
        self._bin = f"{directory}/bin"
        os.makedirs(f"{self.node}/var/lib")
        self._bundle = f"{directory}/bundles/debian-12"
        os.makedirs(f"{self._bundle}/hack")
        os.mkdir(self._bin)
        with open(f"{self._bin}/nsenter", "w") as file:
            file.write(NSENTER)
        os.chmod(f"{self._bin}/nsenter", 0o755)
        for name in ("turn", "config-toml"):
            shutil.copy(f"{IMAGE}/{name}", self._bin)
        with open(f"{IMAGE}/on-node") as script, open(f"{self._bin}/on-node", "w") as copy:
            copy.write(script.read().replace("BUNDLES=/installer/bundles", f"BUNDLES={directory}/bundles"))
        self.bootstrap('ls "$2" "$2/hack" >"${2%/var/*}/seen"')
        with open(f"{self._bundle}/one.whl", "w") as file:
            file.write("a wheel")

    def bootstrap(self, script: str) -> None:
        """What the bundle's script is from now on."""
        with open(f"{self._bundle}/hack/bootstrap-node.sh", "w") as file:
            file.write(f'[ "$1" = --offline ] || exit 7\n{script}\n')

    def run(self, *arguments: str, fails: str = "", system: str = "debian-12") -> Done:
        """`fails`: a command on the node that does; `system`: what the node is."""
        path = f"{self._bin}:{os.environ['PATH']}"
        env = {"PATH": path, "NODE": self.node, "FAILS": fails, "SYSTEM": system}
        done = subprocess.run(
            ["sh", f"{self._bin}/on-node", *arguments], env=env, capture_output=True, text=True, timeout=60
        )
        log = f"{self.node}/log"
        with open(log if os.path.exists(log) else os.devnull) as lines:
            return Done(done.returncode, done.stdout + done.stderr, lines.read().splitlines())


@pytest.fixture
def installer(tmp_path: os.PathLike[str]) -> Installer:
    return Installer(str(tmp_path))


def test_the_bundle_is_on_the_node_while_it_is_installed(installer: Installer) -> None:
    done = installer.run("install")
    assert (done.status, done.said) == (0, "")
    with open(f"{installer.node}/seen") as file:
        assert {"bootstrap-node.sh", "one.whl"} <= set(file.read().split())
    assert os.listdir(f"{installer.node}/var/lib") == []


def test_a_failed_installation_is_one_and_leaves_no_bundle(installer: Installer) -> None:
    installer.bootstrap("exit 3")
    assert installer.run("install").status == 3
    assert os.listdir(f"{installer.node}/var/lib") == []


def test_a_node_of_another_kind_is_refused_untouched(installer: Installer) -> None:
    done = installer.run("install", system="fedora-43")
    assert done.status == 1
    assert done.said == "on-node: no bundle for fedora-43; there are: debian-12 \n"
    assert len(done.on_node) == 1


def test_what_a_killed_installer_left_is_no_hindrance(installer: Installer) -> None:
    os.makedirs(f"{installer.node}/var/lib/glowplug-setup/old")
    assert installer.run("install").status == 0
    assert os.listdir(f"{installer.node}/var/lib") == []


def test_uninstall_stops_where_pods_of_the_handler_run(installer: Installer) -> None:
    program = f"{installer.node}/opt/glowplug/bin/glowplug"
    os.makedirs(os.path.dirname(program))
    shutil.copy("/bin/true", program)
    refused = "/opt/glowplug/bin/glowplug node uninstall"
    done = installer.run("uninstall", fails=refused)
    assert done.status != 0
    assert done.on_node[-1] == refused
    done = installer.run("uninstall")
    assert done.status == 0
    assert [line for line in done.on_node if not line.startswith("test ")][-5:] == [
        "/opt/glowplug/bin/glowplug node uninstall",
        "systemctl disable --now glowplug-agent.service",
        "/opt/glowplug/bin/glowplug node uninstall --purge",
        "rm -rf /etc/systemd/system/glowplug-agent.service /run/glowplug-access /run/glowplug-setup.log",
        "systemctl daemon-reload",
    ]


def test_the_work_outlives_the_pod(installer: Installer) -> None:
    """A pod that is deleted takes its cgroup's processes along; a unit of systemd's is in none of its."""
    os.makedirs(f"{installer.node}/run/systemd/system")
    done = installer.run("install")
    unit = "systemd-run --quiet --wait --collect --unit=glowplug-setup sh -c "
    assert any(line.startswith(unit) and " bash /var/lib/glowplug-setup/" in line for line in done.on_node)
    assert "cat /run/glowplug-setup.log" in done.on_node


def test_what_a_pod_before_this_one_began_is_waited_for(installer: Installer) -> None:
    """Its unit still installs, out of the bundle that this pod would replace."""
    os.makedirs(f"{installer.node}/run/systemd/system")
    with open(f"{installer.node}/active", "w") as file:
        file.write("..")
    done = installer.run("install")
    names = [line.split()[0] for line in done.on_node]
    assert names.count("systemctl") - names[names.index("mkdir") :].count("systemctl") == 3
    assert "is-active" not in " ".join(done.on_node[names.index("mkdir") :])


def test_the_pod_s_configuration_and_token_reach_the_agent(tmp_path: os.PathLike[str]) -> None:
    """`put` is what the node's shell does with standard input: here it is a real one."""
    script = open(f"{IMAGE}/on-node").read()  # noqa: SIM115
    assert f"PASSED_ON={FROM_SECRET} " in script
    functions = script[script.index("put() {") : script.index("uninstall() {")]
    account = f"{tmp_path}/account"
    os.makedirs(account)
    for name in ("token", "ca.crt"):
        with open(f"{account}/{name}", "w") as file:
            file.write(f"the {name}")
    with open(f"{tmp_path}/config.json", "w") as file:
        file.write(
            '{"registry": {"repository": "x/y", "trust": {"*": ["/k"]}}, "mode": "observe",'
            ' "cache_limit_bytes": 100000000000}'
        )
    os.makedirs(f"{tmp_path}/keys")
    with open(f"{tmp_path}/keys/sign.key", "wb") as binary:
        binary.write(KEY)
    names = {"SETTINGS": "config.toml", "ACCESS": "access", "ACCOUNT": "account", "CONFIG": "config.json"}
    names |= {"KEYS": "keys", "NODE_KEYS": "node/keys"}
    env = {name: f"{tmp_path}/{path}" for name, path in names.items()} | {"PASSED_ON": FROM_SECRET}
    env |= {"PREFIX": "/opt/glowplug", "NODE_NAME": "n1", "KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    env |= {"KUBERNETES_SERVICE_PORT": "443", "PATH": os.environ["PATH"]}
    steps = (
        'hand_on; hand_on_keys; hand_on_keys; settings; echo "changed=$changed"; settings; echo "$changed"'
    )
    body = f'node() {{ "$@"; }}\n{functions}\n{steps}'
    run = ["sh", "-euc", body.replace("${0%/*}", IMAGE)]
    done = subprocess.run(run, env=env, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("changed=yes\n\n", "")
    with open(f"{tmp_path}/config.toml", "rb") as file:
        found = tomllib.load(file)
    assert found["kubernetes"] == f"{tmp_path}/access/kubeconfig" and found["node_name"] == "n1"
    registry = {"repository": "x/y", "trust": {"*": ["/k"]}}
    assert (found["mode"], found["registry"], found["cache_limit_bytes"]) == ("observe", registry, 10**11)
    with open(f"{tmp_path}/node/keys/sign.key", "rb") as binary:
        assert binary.read() == KEY
    assert os.stat(f"{tmp_path}/node/keys/sign.key").st_mode & 0o777 == 0o600
    with open(f"{tmp_path}/node/keys/{FROM_SECRET}") as file:
        assert file.read() == "sign.key\n"
    assert (
        "runc" not in found and found["criu"] == "/opt/glowplug/criu/bin/criu"
    )  # it is bootstrap-node.sh's to find
    with open(f"{tmp_path}/access/kubeconfig") as file:
        access = yaml.safe_load(file)
    assert access["clusters"][0]["cluster"]["server"] == "https://10.96.0.1:443"
    assert os.stat(f"{tmp_path}/access/token").st_mode & 0o777 == 0o600


def test_what_the_bootstrap_found_on_the_node_stays(tmp_path: Path) -> None:
    """As it puts it into the file; but for a runc that is not there, which an earlier installer may have found."""
    script = open(f"{IMAGE}/on-node").read()  # noqa: SIM115
    functions = script[script.index("put() {") : script.index("uninstall() {")]
    settings, config = tmp_path / "config.toml", tmp_path / "config.json"
    config.write_text('{"mode": "observe"}')
    there = tmp_path / "runc"
    there.touch()
    env = {"SETTINGS": str(settings), "CONFIG": str(config), "ACCOUNT": str(tmp_path / "none")}
    env |= {"PREFIX": "/opt/glowplug", "PATH": os.environ["PATH"]}
    body = f'node() {{ "$@"; }}\n{functions}\nsettings; echo "$changed"'.replace("${0%/*}", IMAGE)

    def run() -> str:
        done = subprocess.run(
            ["sh", "-euc", body], env=env, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.strip()

    assert run() == "yes"
    written = settings.read_text()
    settings.write_text(f'containerd_socket = "{there}"\nrunc = "{there}"\n{written}')
    assert run() == ""
    settings.write_text(f'runc = "{there}.gone"\n{written}')
    assert run() == "yes" and settings.read_text() == written
    config.write_text('{"runc": "/own/runc"}')
    settings.write_text(f'runc = "{there}"\n{written}')
    assert run() == "yes" and tomllib.loads(settings.read_text())["runc"] == "/own/runc"


def test_there_is_nothing_to_uninstall_twice(installer: Installer) -> None:
    done = installer.run("uninstall")
    assert (done.status, done.on_node[-1]) == (0, "test -x /opt/glowplug/bin/glowplug")
    assert all(line.startswith("test ") for line in done.on_node)


@pytest.mark.parametrize("arguments", [(), ("remove",)])
def test_other_words_are_refused(arguments: tuple[str, ...], installer: Installer) -> None:
    done = installer.run(*arguments)
    assert (done.status, done.on_node) == (2, [])
    assert done.said.startswith("on-node: expected install, uninstall, status, watch, warm or registry, got ")


def test_warm_and_registry_are_the_nodes(installer: Installer) -> None:
    done = installer.run("warm", "-n", "models", "--label", "app=llama 3")
    assert (done.status, done.on_node) == (
        0,
        ["/opt/glowplug/bin/glowplug warm -n models --label app=llama 3"],
    )
    assert (
        installer.run("registry", "gc", "-n", "x", fails="/opt/glowplug/bin/glowplug registry gc -n x").status
        == 1
    )


def test_status_is_the_nodes(installer: Installer) -> None:
    assert installer.run("status").status == 0
    assert installer.run("status", fails="/opt/glowplug/bin/glowplug node status").status == 1


def test_watch_ends_when_it_is_reported() -> None:
    watching = subprocess.Popen(["sh", f"{IMAGE}/on-node", "watch"], start_new_session=True)
    try:
        wait_until(lambda: process.children(watching.pid), 10, "it waits")
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(60) == 0
    finally:
        with suppress(ProcessLookupError):  # its sleep may not have begun
            os.killpg(watching.pid, signal.SIGKILL)
        watching.wait()


def test_everything_that_the_image_is_made_of_is_there() -> None:
    with open(f"{IMAGE}/Containerfile") as file:
        copied = [line.split()[1:-1] for line in file if line.startswith("COPY ") and "--from" not in line]
    assert copied
    for name in (name for names in copied for name in names):
        assert os.path.exists(f"{REPOSITORY}/{name}"), name


def test_the_pods_call_it_by_words_that_it_knows() -> None:
    pod = yaml.safe_load(templates.read("kustomize/base/daemonset.yaml"))["spec"]["template"]["spec"]
    with open(f"{IMAGE}/on-node") as file:
        known = set(re.findall(r"^([a-z]+)\)", file.read(), re.MULTILINE))
    used = {word for one in [*pod["initContainers"], *pod["containers"]] for word in one["args"]}
    probe = pod["containers"][0]["readinessProbe"]["exec"]["command"]
    assert used | {"uninstall", probe[1]} == known
