"""A pod's directory as a kubelet lays it out: what it mounts into containers, by the paths that it gives them."""

import os
import secrets
import shutil

from integration.cri_specs import Mount
from integration.node import Node

TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount"


class PodDirectory:
    """Of one pod, below the node's state directory. Each method makes something and says how it is mounted."""

    def __init__(self, node: Node, uid: str) -> None:
        self._pod = f"{node.names.state}/kubelet/pods/{uid}"

    def config_map(self, name: str, files: dict[str, str], at: str, kind: str = "configmap") -> Mount:
        """Also a `kind` secret or projected; called again, its content is replaced as the kubelet does it."""
        source = f"{self._pod}/volumes/kubernetes.io~{kind}/{name}"
        write_atomically(source, files)
        return Mount(container_path=at, host_path=source, readonly=True)

    def token(self, text: str, name: str) -> Mount:
        """The service account's, which the kubelet renews. `name`: the volume's, drawn for each pod."""
        files = {"token": text, "namespace": "default", "ca.crt": "a certificate"}
        return self.config_map(name, files, TOKENS, "projected")

    def empty_dir(self, name: str, at: str) -> Mount:
        source = f"{self._pod}/volumes/kubernetes.io~empty-dir/{name}"
        os.makedirs(source, 0o777, exist_ok=True)
        os.chmod(source, 0o777)
        return Mount(container_path=at, host_path=source)

    def subpath(self, volume: str, container: str, at: str) -> Mount:
        """Of a volume that this class does not make: what the kubelet bind mounts for a container alone."""
        source = f"{self._pod}/volume-subpaths/{volume}/{container}/0"
        os.makedirs(source, exist_ok=True)
        return Mount(container_path=at, host_path=source)

    def subpath_of_empty_dir(self, volume: str, container: str, at: str) -> Mount:
        self.empty_dir(volume, at)
        return self.subpath(volume, container, at)

    def termination_log(self, container: str) -> Mount:
        directory = f"{self._pod}/containers/{container}"
        os.makedirs(directory, exist_ok=True)
        path = f"{directory}/{secrets.token_hex(4)}"
        with open(path, "x"):
            os.chmod(path, 0o666)
        return Mount(container_path="/dev/termination-log", host_path=path)

    def hosts(self, ip: str, hostname: str) -> Mount:
        os.makedirs(self._pod, exist_ok=True)
        with open(f"{self._pod}/etc-hosts", "w") as file:
            file.write(f"# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n{ip}\t{hostname}\n")
        return Mount(container_path="/etc/hosts", host_path=f"{self._pod}/etc-hosts")


def write_atomically(directory: str, files: dict[str, str]) -> None:
    """As the kubelet's atomic writer: files are links into ..data, a link to a directory of this moment. That of the
    moment before is removed."""
    os.makedirs(directory, exist_ok=True)
    before = os.path.realpath(f"{directory}/..data") if os.path.lexists(f"{directory}/..data") else ""
    moment = f"..{secrets.token_hex(6)}"
    os.mkdir(f"{directory}/{moment}")
    for name, text in files.items():
        with open(f"{directory}/{moment}/{name}", "w") as file:
            file.write(text)
        if not os.path.islink(f"{directory}/{name}"):
            os.symlink(f"..data/{name}", f"{directory}/{name}")
    os.symlink(moment, f"{directory}/..data.new")
    os.rename(f"{directory}/..data.new", f"{directory}/..data")
    if before:
        shutil.rmtree(before)
