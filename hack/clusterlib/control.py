"""etcd, the API server, the controller manager and the scheduler: one of each, on the node's loopback."""

import os
import secrets
import subprocess
import time
from collections.abc import Callable

from hack.clusterlib.machine import Failed, Machine
from hack.clusterlib.place import API, FIRST, NODE_ADDRESS, PROGRAMS, SECOND, SERVICES, Place

USERS = {
    "admin": ("admin", "system:masters"),
    **{host.user: (f"system:node:{host.name}", "system:nodes") for host in (FIRST, SECOND)},
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "agent": ("glowplug-agent", ""),
}
READY_WITHIN_S = 180.0

_KUBECONFIG = """apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "{api}", certificate-authority: {state}/pki/api.crt}}}}]
users: [{{name: u, user: {{token: "{token}"}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""


def start(machine: Machine) -> None:
    """Until the API server is ready."""
    place = machine.place
    _credentials(place)
    start_etcd(machine)
    start_api_server(machine)
    common = [
        "--bind-address=127.0.0.1",
        "--port=0",
        "--leader-elect=false",
        f"--cert-dir={place.state}/certs",
    ]
    machine.start(
        "controller-manager",
        f"{PROGRAMS}/kube-controller-manager",
        f"--kubeconfig={place.kubeconfig('controller-manager')}",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={place.state}/pki/accounts.key",
        f"--root-ca-file={place.state}/pki/api.crt",
        f"--flex-volume-plugin-dir={place.state}/volume-plugins",
        *common,
    )
    machine.start(
        "scheduler", f"{PROGRAMS}/kube-scheduler", f"--kubeconfig={place.kubeconfig('scheduler')}", *common
    )


def start_etcd(machine: Machine) -> None:
    """Without fsync: nothing of it outlives the cluster."""
    machine.start(
        "etcd",
        f"{PROGRAMS}/etcd",
        f"--data-dir={machine.place.state}/etcd",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
    )


def start_api_server(machine: Machine) -> None:
    """Until it is ready."""
    state = machine.place.state
    machine.start(
        "apiserver",
        f"{PROGRAMS}/kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=0.0.0.0",
        f"--advertise-address={NODE_ADDRESS}",
        "--secure-port=6443",
        "--insecure-port=0",
        f"--tls-cert-file={state}/pki/api.crt",
        f"--tls-private-key-file={state}/pki/api.key",
        f"--cert-dir={state}/certs",
        f"--token-auth-file={state}/pki/tokens.csv",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-cluster-ip-range={SERVICES}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={state}/pki/accounts.pub",
        f"--service-account-signing-key-file={state}/pki/accounts.key",
        "--allow-privileged=true",
        "--endpoint-reconciler-type=none",
        "--kubelet-preferred-address-types=InternalIP",
    )
    wait(lambda: kubectl(machine, "get", "--raw", "/readyz").returncode == 0, "the API server ready")


def kubectl(machine: Machine, *words: str) -> "subprocess.CompletedProcess[str]":
    """As admin."""
    return machine.run(*kubectl_command(machine.place), *words, check=False)


def kubectl_command(place: Place) -> list[str]:
    """What to put before kubectl's own words, on the node."""
    return [
        f"{PROGRAMS}/kubectl",
        f"--kubeconfig={place.kubeconfig('admin')}",
        f"--cache-dir={place.state}/kubectl-cache",
    ]


def wait(holds: Callable[[], bool], what: str, deadline_s: float = READY_WITHIN_S) -> None:
    """Failed where it is not reached."""
    until = time.monotonic() + deadline_s
    while not holds():
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {deadline_s:g} s; see the logs")
        time.sleep(0.3)


def _credentials(place: Place) -> None:
    """A certificate for the API server, a key pair for service accounts, a token for each user."""
    pki = f"{place.state}/pki"
    os.makedirs(pki, mode=0o700)
    names = "subjectAltName=IP:127.0.0.1,IP:10.96.0.1,IP:" + NODE_ADDRESS
    for command in (
        f"openssl genrsa -out {pki}/accounts.key 2048",
        f"openssl rsa -in {pki}/accounts.key -pubout -out {pki}/accounts.pub",
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=cluster -addext {names}"
        f" -keyout {pki}/api.key -out {pki}/api.crt",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)
    with open(f"{pki}/tokens.csv", "w") as tokens:
        for name, (user, group) in USERS.items():
            token = secrets.token_hex(16)
            tokens.write(f'{token},{user},{name},"{group}"\n')
            with open(place.kubeconfig(name), "w") as file:
                file.write(_KUBECONFIG.format(api=API, state=place.state, token=token))
            os.chmod(place.kubeconfig(name), 0o600)
