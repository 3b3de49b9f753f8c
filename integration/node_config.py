"""The configuration files of a private node: containerd's (two formats), CNI's and Glowplug's."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping

from integration.node_names import PAUSE_IMAGE, Names

CNI = "/usr/lib/cni"
ALONE = "glowplug-alone"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Off: what a node of ours has no use for, takes long to start, or writes outside of the state directory.
DISABLED_PLUGINS = [
    "io.containerd.internal.v1.restart",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
]


def containerd_version(program: str) -> tuple[int, ...]:
    """(1, 6, 20) from `containerd github.com/containerd/containerd 1.6.20~ds1 …`."""
    words = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.split()
    numbers = words[2].lstrip("v").split("~")[0].split("-")[0].split("+")[0]
    return tuple(int(number) for number in numbers.split("."))


def runc_program() -> str:
    """runc; where cgroup v2 is mounted without the cpu controller, one that leaves CPU shares out."""
    try:
        with open("/sys/fs/cgroup/cgroup.controllers") as file:
            has_cpu = "cpu" in file.read().split()
    except FileNotFoundError:
        has_cpu = True  # cgroup v1
    if not has_cpu:
        return f"{os.path.dirname(os.path.abspath(__file__))}/runc_without_shares"
    found = shutil.which("runc", path=PATH)
    if found is None:
        raise FileNotFoundError(f"no runc in {PATH}: run hack/setup")
    return found


def containerd_config(names: Names, version: tuple[int, ...], runtime: str | None) -> str:
    """config.toml for this containerd. `runtime`: the program behind the handler `glowplug`; None: no such handler.

    1.6 needs the handler `runc` declared as soon as another one is.
    """
    criplugin = "io.containerd.grpc.v1.cri" if version < (2,) else "io.containerd.cri.v1.runtime"
    return "\n".join(
        [
            f"version = {2 if version < (2,) else 3}",
            f'root = "{names.state}/root"',
            f'state = "{names.state}/state"',
            f"disabled_plugins = {json.dumps(DISABLED_PLUGINS)}",
            "[grpc]",
            f'  address = "{names.socket}"',
            '[plugins."io.containerd.internal.v1.opt"]',
            f'  path = "{names.state}/opt"',
            '[plugins."io.containerd.nri.v1.nri"]',
            "  disable = true",
            *_images(version),
            f'[plugins."{criplugin}"]',
            *([f'  sandbox_image = "{PAUSE_IMAGE}"'] if version < (2,) else []),
            # Without CAP_SYS_RESOURCE a score can't be lowered, and the pause container would not start.
            "  restrict_oom_score_adj = true",
            "  netns_mounts_under_state_dir = true",
            f'  [plugins."{criplugin}".cni]',
            f'    bin_dir = "{CNI}"',
            f'    conf_dir = "{names.state}/cni"',
            f'  [plugins."{criplugin}".containerd]',
            '    default_runtime_name = "runc"',
            *(['    snapshotter = "overlayfs"'] if version < (2,) else []),
            *_handler(names, criplugin, "runc", runc_program()),
            *(_handler(names, criplugin, "glowplug", runtime) if runtime else []),
            "",
        ]
    )


def _images(version: tuple[int, ...]) -> list[str]:
    if version < (2,):
        return []
    return [
        '[plugins."io.containerd.cri.v1.images"]',
        '  snapshotter = "overlayfs"',
        '  [plugins."io.containerd.cri.v1.images".pinned_images]',
        f'    sandbox = "{PAUSE_IMAGE}"',
    ]


def _handler(names: Names, criplugin: str, handler: str, program: str) -> list[str]:
    table = f'plugins."{criplugin}".containerd.runtimes.{handler}'
    return [
        f"    [{table}]",
        '      runtime_type = "io.containerd.runc.v2"',
        '      pod_annotations = ["glowplug.dev/*"]',
        '      container_annotations = ["glowplug.dev/*"]',
        f"      [{table}.options]",
        f'        BinaryName = "{program}"',
        f'        Root = "{names.runc_root}"',
    ]


def cni_config(names: Names) -> str:
    """A bridge that this machine has an address on: no other machine is reached, so no NAT is needed.

    On a machine without that plugin, the one that hack/gpu-unpack puts there: pods that nobody outside reaches.
    """
    if not os.path.exists(f"{CNI}/bridge") and os.path.exists(f"{CNI}/{ALONE}"):
        return json.dumps({"cniVersion": "0.4.0", "name": names.bridge, "plugins": [{"type": ALONE}]})
    network = {
        "cniVersion": "0.4.0",
        "name": names.bridge,
        "plugins": [
            {
                "type": "bridge",
                "bridge": names.bridge,
                "isGateway": True,
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": f"{names.state}/ipam",
                    "ranges": [[{"subnet": names.subnet}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }
    return json.dumps(network, indent=2)


def glowplug_config(names: Names, criu: str, settings: Mapping[str, object]) -> str:
    """Glowplug's config.toml. `criu`: the program; `settings`: what a test wants otherwise."""
    keys: dict[str, object] = {
        "cache": names.cache,
        "containerd_socket": names.socket,
        "runc_root": names.runc_root,
        "runc": runc_program(),
        "criu": criu,
        "trial": "never",  # every capture of a test is the first of its workload; those that try ask for it
        "min_free_bytes": 1 << 30,  # not a fifth of whatever disk the tests run on
        "failure_backoff": False,  # a test fails many restores of one workload in a row, and wants each
        **settings,
    }
    return "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())


def _toml(value: object) -> str:
    """On one line. Strings, numbers and booleans are written alike in JSON and TOML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return json.dumps(value)
