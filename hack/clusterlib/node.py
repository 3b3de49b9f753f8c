"""containerd and the kubelet, where a node has them: /etc/containerd, /run/containerd, /var/lib/kubelet.

`systemctl` and `systemd-run` on the node are small programs of ours, which start and end what a unit's ExecStart names.
"""

import os
import shutil

from hack.clusterlib import images
from hack.clusterlib.control import kubectl, kubectl_command, wait
from hack.clusterlib.machine import Machine
from hack.clusterlib.place import PROGRAMS

SOCKET = "/run/containerd/containerd.sock"
HERE = os.path.dirname(os.path.abspath(__file__))

_PROGRAMS = (
    ("systemctl", "node_systemctl"),
    ("systemd-run", "node_systemd_run"),
    ("node_notify", "node_notify"),
)

# Without CAP_SYS_RESOURCE, which a container that builds software lacks, no process' score can be lowered.
_CONTAINERD = """version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_hugetlb_controller = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
"""
_CONTAINERD_UNIT = """[Service]
ExecStart={program}
"""
_NETWORK = """{{"cniVersion": "0.4.0", "name": "pods", "plugins": [{{"type": "bridge", "bridge": "pods0",
 "isGateway": true, "ipMasq": false,
 "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "{subnet}"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}}]}}
"""
# Requests to the API server: as a kubelet has them by default since Kubernetes 1.27, which of 1.20 are 5 in a second.
_KUBELET = """apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {address}
healthzBindAddress: 127.0.0.1
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
cgroupDriver: cgroupfs
cgroupRoot: {cgroup}
makeIPTablesUtilChains: false
failSwapOn: false
resolvConf: {state}/resolv.conf
clusterDNS: ["10.96.0.10"]
clusterDomain: cluster.local
imageGCHighThresholdPercent: 100
evictionHard: {{memory.available: "100Mi", nodefs.available: "1%", nodefs.inodesFree: "1%", imagefs.available: "1%"}}
nodeStatusUpdateFrequency: 2s
kubeAPIQPS: 50
kubeAPIBurst: 100
containerLogMaxSize: 1Mi
"""


def start(machine: Machine, containerd: str) -> None:
    """Until the node is ready and has the images. `containerd`: the program."""
    _write(machine, containerd)
    machine.run("systemctl", "start", "containerd")
    wait(lambda: machine.run("ctr", "version", check=False).returncode == 0, "containerd")
    for archive in images.archives():
        machine.run("ctr", "-n", "k8s.io", "images", "import", archive)
    start_kubelet(machine)
    wait(lambda: _is_ready(machine), "the node ready")
    wait(lambda: kubectl(machine, "get", "serviceaccount", "default").returncode == 0, "the service account")


def start_kubelet(machine: Machine) -> None:
    """It takes up the pods that there are."""
    place = machine.place
    machine.start(
        "kubelet",
        f"{PROGRAMS}/kubelet",
        f"--config={place.state}/kubelet.yaml",
        f"--kubeconfig={place.kubeconfig(machine.host.user)}",
        f"--hostname-override={machine.host.name}",
        f"--node-ip={machine.host.address}",
        f"--cert-dir={place.state}/certs",
        f"--volume-plugin-dir={place.state}/volume-plugins",
        "--container-runtime=remote",
        f"--container-runtime-endpoint=unix://{SOCKET}",
        "--v=2",
    )


def _is_ready(machine: Machine) -> bool:
    query = '{.status.conditions[?(@.type=="Ready")].status}'
    return kubectl(machine, "get", "node", machine.host.name, "-o", f"jsonpath={query}").stdout == "True"


def _write(machine: Machine, containerd: str) -> None:
    place = machine.place
    program = shutil.which(containerd) or containerd
    texts = {
        "/etc/containerd/config.toml": _CONTAINERD.format(pause=images.PAUSE),
        "/etc/systemd/system/containerd.service": _CONTAINERD_UNIT.format(program=program),
        "/etc/cni/net.d/10-pods.conflist": _NETWORK.format(subnet=machine.host.pods),
        f"{place.state}/kubelet.yaml": _KUBELET.format(
            address=machine.host.address, cgroup=place.cgroup, state=place.state
        ),
        f"{place.state}/resolv.conf": "nameserver 127.0.0.1\n",
    }
    for path, text in texts.items():
        write(machine, path, text)
    machine.run("rm", "-rf", "/etc/containerd/conf.d", "/etc/glowplug", "/opt/glowplug")
    machine.run("find", "/etc/cni/net.d", "-type", "f", "!", "-name", "10-pods.conflist", "-delete")
    machine.run("mkdir", "-p", "/run/systemd/system", "/usr/local/bin")
    for name, program in _PROGRAMS:
        machine.run("install", "-m", "755", f"{HERE}/{program}", f"/usr/local/bin/{name}")
    command = " ".join(kubectl_command(place))
    # Whichever network it is called from, the API server is on the node's loopback.
    write(machine, "/usr/local/bin/kubectl", f'#!/bin/sh\nexec nsenter --net=/proc/1/ns/net {command} "$@"\n')
    machine.run("chmod", "755", "/usr/local/bin/kubectl")


def write(machine: Machine, path: str, text: str) -> None:
    """A file on the node."""
    script = 'mkdir -p "${1%/*}" && printf %s "$2" >"$1"'
    machine.run("/bin/sh", "-c", script, "sh", path, text)
