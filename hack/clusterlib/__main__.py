"""hack/cluster: up, down, kubectl, run, logs, bench."""

import json
import os
import subprocess
import sys
import time

import click

from hack.clusterlib import control, node, second
from hack.clusterlib.machine import Failed, Machine, environment
from hack.clusterlib.place import PROGRAMS, SECOND, default

WORDS = {
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
    "help_option_names": ["-h", "--help"],
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A Kubernetes cluster of one or two nodes on this machine, in namespaces of its own. Needs root."""
    if os.geteuid() != 0:
        raise Failed(f"must run as root (uid {os.geteuid()}): it makes namespaces and runs containerd")


@main.command()
@click.option("--containerd", default="containerd", help="The program; default: the one in PATH. 1.6 or 1.7.")
@click.option("--nodes", default=1, show_default=True, type=click.IntRange(1, 2), help="n1, and n2.")
def up(containerd: str, nodes: int) -> None:
    """Bring it up: etcd, the control plane, containerd and a kubelet. Glowplug is not on its nodes."""
    began = time.monotonic()
    missing = [
        name for name in ("etcd", "kubelet", "kube-apiserver") if not os.path.exists(f"{PROGRAMS}/{name}")
    ]
    if missing:
        raise Failed(f"{PROGRAMS} has no {missing[0]}: run hack/setup and hack/setup_kubernetes")
    machine = Machine(default())
    if machine.init is not None:
        raise Failed("it is up already: hack/cluster down")
    machine.down()
    try:
        machine.up()
        control.start(machine)
        node.start(machine, containerd)
        if nodes == 2:
            second.join(machine, containerd)
    except BaseException:
        if not os.environ.get("GLOWPLUG_CLUSTER_KEEP"):
            machine.down()
        raise
    click.echo(f"up after {time.monotonic() - began:.0f} s; logs in {machine.place.logs}")


@main.command()
def down() -> None:
    """End it, and leave nothing behind."""
    Machine(default().second(), SECOND).down()
    Machine(default()).down()


@main.command(context_settings=WORDS)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def kubectl(words: tuple[str, ...]) -> None:
    """kubectl as the cluster's admin."""
    machine = Machine(default())
    _become(machine.command([*control.kubectl_command(machine.place), *words]))


@main.command(context_settings=WORDS)
@click.option("--online", is_flag=True, help="With this machine's network, which the node does not have.")
@click.option("--second", "on_second", is_flag=True, help="On n2.")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
def run(online: bool, on_second: bool, words: tuple[str, ...]) -> None:
    """A command on the node."""
    machine = Machine(default().second(), SECOND) if on_second else Machine(default())
    _become(machine.command(words, online=online))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
@click.option("--turns", default=3, show_default=True, type=click.IntRange(1), help="Of one pod at a time.")
@click.option("--at-once", default=8, show_default=True, type=click.IntRange(1), help="Pods in the burst.")
def bench(as_json: bool, turns: int, at_once: int) -> None:
    """From scheduled to Ready, cold and restored. Glowplug must be on the node (docs/getting-started.md)."""
    import hack.clusterlib.ready as ready

    figures = ready.measure(Machine(default()), turns, at_once)
    click.echo(json.dumps(figures, indent=1) if as_json else ready.table(figures))


def _become(command: list[str]) -> None:
    sys.stdout.flush()
    done = subprocess.run(command, env={**environment(), **_terminal()})
    raise SystemExit(done.returncode)


def _terminal() -> dict[str, str]:
    return {"TERM": os.environ["TERM"]} if "TERM" in os.environ else {}


def entry() -> None:
    """One line for what goes wrong."""
    try:
        main()
    except Failed as error:
        click.echo(f"cluster: {error}", err=True)
        sys.exit(1)


entry()
