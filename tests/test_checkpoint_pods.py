"""Two pods of one workload have one key, whatever a cluster injects; two that a process could distinguish have two.

The generator makes a pod of a controller with the variables that Kubernetes, operators and meshes write into pods, and
the same pod made again. What differs between the two is the pod's own and nothing else.
"""

import copy
import json
import random
import string
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests import checkpoint_made as made
from tests import drawn  # noqa: F401  # how examples are drawn
from tests.pods_made import CONTROLLERS, INJECTED, NODES, Pod, downward_api, pod_of

from glowplug.checkpoint import bundle, key, mounts
from glowplug.checkpoint.differences import differences
from glowplug.checkpoint.noise import SandboxFacts
from glowplug.checkpoint.oci import BundleError

Spec = dict[str, Any]


def services(draw: random.Random, number: int) -> list[str]:
    """The same cluster's: each has its address for good; which are there changes from pod to pod."""
    names = draw.sample([f"SVC_{n}" for n in range(20)], number)
    return [entry for name in names for entry in made.service(name, f"10.96.9.{name.split('_')[1]}", 80)]


def gpus(pod: Pod) -> Callable[[Spec], None]:
    """One by CDI, with its DRM nodes, a hook that names its place, and by the strategy volume-mounts."""
    n, pci = pod.gpu, f"{pod.gpu:04x}:{0x1A + pod.gpu:02x}:00.0"

    def give(spec: Spec) -> None:
        spec["linux"]["devices"] += [
            {"path": f"/dev/nvidia{n}", "type": "c", "major": 195, "minor": n},
            {"path": "/dev/nvidiactl", "type": "c", "major": 195, "minor": 255},
            {"path": f"/dev/dri/card{n + 1}", "type": "c", "major": 226, "minor": n + 1},
            {"path": f"/dev/dri/renderD{128 + n}", "type": "c", "major": 226, "minor": 128 + n},
            {
                "path": f"/dev/nvidia-caps/nvidia-cap{9 * n + 3}",
                "type": "c",
                "major": 237,
                "minor": 9 * n + 3,
            },
        ]
        links = [
            f"../card{n + 1}::/dev/dri/by-path/pci-{pci}-card",
            f"../renderD{128 + n}::/dev/dri/by-path/pci-{pci}-render",
        ]
        args = ["nvidia-cdi-hook", "create-symlinks", *(word for link in links for word in ("--link", link))]
        spec["hooks"] = {"createContainer": [{"path": "/usr/bin/nvidia-cdi-hook", "args": args}]}
        uuid_ = f"GPU-{pod.uid}"
        spec["mounts"] += [
            made.bind(f"/var/run/nvidia-container-devices/{uuid_}", "/dev/null", "ro"),
            made.bind(f"/proc/driver/nvidia/gpus/{pci}", f"/proc/driver/nvidia/gpus/{pci}", "ro"),
        ]
        spec["process"]["env"].append(f"NVIDIA_VISIBLE_DEVICES={uuid_}")

    return give


def spec_of(
    pod: Pod, kinds: tuple[Callable[[Pod], list[str]], ...], links: list[str], with_gpu: bool
) -> Spec:
    """The config.json of the pod's container."""
    own = {made.UID: pod.uid, made.SANDBOX: pod.sandbox, made.CONTAINER: pod.container, made.POD: pod.name}
    text = json.dumps(made.spec())
    for old, new in own.items():
        text = text.replace(old, new)
    spec: Spec = json.loads(text)
    env = {"PATH": "/usr/bin", "HOSTNAME": pod.name, "MODEL": "llama-3"}
    for kind in kinds:
        env |= dict(entry.split("=", 1) for entry in kind(pod))
    spec["process"]["env"] = [f"{name}={value}" for name, value in env.items()] + links
    spec["process"]["args"] = [
        "/usr/bin/server",
        "--model=llama-3",
        f"--advertise={pod.ip}:8000",
        "--pod-name",
        pod.name,
    ]
    if with_gpu:
        gpus(pod)(spec)
    return spec


def key_of(pod: Pod, spec: Spec) -> key.WorkloadKey:
    facts = SandboxFacts(
        name=pod.name,
        namespace="models",
        uid=pod.uid,
        ips=(pod.ip, pod.ip_6),
        hostname=pod.name[:63],
        node_names=(pod.node,),
        labels=pod.labels,
    )
    return made.key_of(spec, facts)


@given(
    st.randoms(use_true_random=False),
    st.sampled_from(CONTROLLERS),
    st.lists(st.sampled_from(INJECTED), unique=True).map(tuple),
    st.booleans(),
)
def test_a_pod_made_again_has_the_same_key(
    draw: random.Random,
    controller: Callable[[random.Random, str], tuple[str, dict[str, str]]],
    kinds: tuple[Callable[[Pod], list[str]], ...],
    with_gpu: bool,
) -> None:
    keys = []
    for _ in range(2):
        name, labels = controller(draw, "llama")
        pod = pod_of(draw, name, labels, draw.choice(NODES))
        keys.append(key_of(pod, spec_of(pod, kinds, services(draw, draw.randrange(5)), with_gpu)))
    assert differences(keys[0].parts, keys[1]) == []
    assert keys[0].digest == keys[1].digest


def test_two_members_of_a_stateful_set_are_two() -> None:
    draw = random.Random(1)
    pods = [pod_of(draw, f"web-{n}", {}, "worker-1") for n in (0, 1)]
    one, other = (key_of(pod, spec_of(pod, (downward_api,), [], False)) for pod in pods)
    assert {reason.slug for reason in differences(one.parts, other)} == {"name", "env", "args"}
    specs = [spec_of(pod, (downward_api,), [], False) for pod in pods]
    for spec in specs:
        spec["annotations"]["glowplug.dev/identity"] = "interchangeable"
    one, other = (key_of(pod, spec) for pod, spec in zip(pods, specs, strict=True))
    assert differences(one.parts, other) == []


# -- any difference that a process can see --

EXEMPT = {  # each with the rule of docs/matching.md that says why
    "ociVersion",  # the format's
    "annotations",  # others' labels; ours are a part
    "linux.resources",  # 2.4
    "linux.cgroupsPath",  # 2.4
    "linux.mountLabel",  # the pod's own category
    "linux.intelRdt",  # 2.4
    "process.oomScoreAdj",  # 2.4
    "hostname",  # 2.4
    "root.path",  # where containerd mounts it
    "process.selinuxLabel",  # the level is the pod's own category; user, role and type are tested by hand
    "process.consoleSize",  # only with a terminal
    "linux.namespaces.path",  # of the pod's sandbox: joined counts, which one is the pod's own
}
# Of these mounts the source says nothing (4.1): made again for each pod, carried, reported by what is in it, or no path
# of the host at all.
WITHOUT_SOURCE = {
    index
    for index, mount in enumerate(mounts.classify(bundle.read(made.spec())))
    if mount.kind in (mounts.NOISE, mounts.CARRIED) or mount.how in ("kernel", mounts.CONTENT)
}


FULL = made.spec()


def leaves(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(node, dict):
        return [leaf for name, value in node.items() for leaf in leaves(value, (*path, name))]
    if isinstance(node, list):
        return [leaf for index, value in enumerate(node) for leaf in leaves(value, (*path, index))]
    return [path]


def is_exempt(path: tuple[Any, ...]) -> bool:
    if path[0] == "mounts" and path[-1] == "source" and path[1] in WITHOUT_SOURCE:
        return True
    if (
        path[0] == "mounts" and path[-1] == "type"
    ):  # of a bind mount a word only: "rbind" is among its options
        return "rbind" in FULL["mounts"][path[1]]["options"]
    dotted = ".".join(str(step) for step in path if not isinstance(step, int))
    return any(dotted == one or dotted.startswith(one + ".") for one in EXEMPT)


SEEN = [path for path in leaves(FULL) if not is_exempt(path)]


def changed(spec: Spec, path: tuple[Any, ...], salt: str) -> None:
    node: Any = spec
    for step in path[:-1]:
        node = node[step]
    value = node[path[-1]]
    if isinstance(value, bool):
        node[path[-1]] = not value
    elif isinstance(value, int):
        node[path[-1]] = value + 1
    else:
        node[path[-1]] = value + salt


@given(st.sampled_from(SEEN), st.text(string.ascii_letters, min_size=1, max_size=4))
def test_whatever_differs_and_can_be_seen_gives_another_key_or_none(path: tuple[Any, ...], salt: str) -> None:
    spec = copy.deepcopy(FULL)
    changed(spec, path, salt)
    try:
        found = made.key_of(spec)
    except BundleError:
        return
    complete = made.key_of()
    same = found.digest == complete.digest and found.conditions == complete.conditions
    assert not same, path
