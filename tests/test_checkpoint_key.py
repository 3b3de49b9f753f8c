"""The workload key: stable under order and noise, another for each part that matters, complete or equal to none."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import checkpoint_made as made

from glowplug.checkpoint import bundle, key
from glowplug.checkpoint import settings as settings_of
from glowplug.checkpoint.differences import differences

Spec = dict[str, Any]
COMPLETE = made.key_of()


def test_the_key_of_a_known_container_is_complete() -> None:
    assert COMPLETE.unknown == {}
    assert len(COMPLETE.digest) == 64
    assert list(COMPLETE.parts) == list(key.PARTS)
    assert COMPLETE.digest == key.digest(COMPLETE.parts)


def test_the_next_pod_of_the_same_deployment_has_the_same_key() -> None:
    found, facts = made.other_pod(made.spec())
    assert found != made.spec()
    other = made.key_of(found, facts)
    assert differences(COMPLETE.parts, other) == []
    assert other.digest == COMPLETE.digest


LISTS = (
    ("process", "env"),
    ("process", "user", "additionalGids"),
    ("process", "capabilities", "bounding"),
    ("process", "rlimits"),
    ("mounts",),
    ("linux", "namespaces"),
    ("linux", "maskedPaths"),
    ("linux", "devices"),
)


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_order_that_means_nothing_changes_nothing(data: st.DataObject) -> None:
    found = made.spec()
    for path in LISTS:
        node = found
        for name in path[:-1]:
            node = node[name]
        node[path[-1]] = data.draw(st.permutations(node[path[-1]]))
    found["process"]["rlimits"] = list(reversed(found["process"]["rlimits"]))
    for mount in found["mounts"]:
        mount["options"] = data.draw(st.permutations(mount["options"]))
    mixed = dict(data.draw(st.permutations(list(found.items()))))
    assert made.key_of(mixed).digest == COMPLETE.digest


NOISE_NAME = st.from_regex(r"[A-Z][A-Z_]{0,12}", fullmatch=True).filter(
    lambda name: not name.endswith("_SERVICE")
)
NOISE_VALUE = st.sampled_from([made.POD, made.UID, "10.1.2.3", f"http://10.1.2.3:80/{made.UID}"])


@given(st.dictionaries(NOISE_NAME, NOISE_VALUE, max_size=5), st.lists(NOISE_VALUE, max_size=3))
@settings(deadline=None, max_examples=100)
def test_noise_by_value_is_the_same_in_the_next_pod(env: dict[str, str], args: list[str]) -> None:
    found = made.spec()
    taken = {entry.partition("=")[0] for entry in found["process"]["env"]}
    found["process"]["env"] += [f"{name}={value}" for name, value in env.items() if name not in taken]
    found["process"]["args"] += args
    moved, facts = made.other_pod(found)
    assert made.key_of(moved, facts).digest == made.key_of(found).digest


PREFIX = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True)
SERVICE = st.tuples(PREFIX, st.ip_addresses(v=4).map(str), st.integers(1, 65535))


@given(st.lists(SERVICE, max_size=4, unique_by=lambda service: service[0]))
@settings(deadline=None, max_examples=50)
def test_services_that_come_and_go_change_nothing(services: list[tuple[str, str, int]]) -> None:
    found = made.spec()
    prefixes = [prefix for prefix, _, _ in services]
    if any(one != other and one.startswith(f"{other}_") for one in prefixes for other in prefixes):
        return  # groups that share variables: a service called A and one called A-PORT-80-TCP
    for prefix, host, port in services:
        if prefix not in ("KUBERNETES", "PATH"):
            found["process"]["env"] += made.service(prefix, host, port)
    assert made.key_of(found).digest == COMPLETE.digest


def put(*path: Any) -> Callable[[Spec], None]:
    """Sets the last word at the path of the others."""

    def change(found: Spec) -> None:
        node = found
        for name in path[:-2]:
            node = node[name]
        node[path[-2]] = path[-1]

    return change


def added(*path: Any) -> Callable[[Spec], None]:
    """Appends the last word to the list at the path of the others."""

    def change(found: Spec) -> None:
        node: Any = found
        for name in path[:-1]:
            node = node[name]
        node.append(path[-1])

    return change


CHANGES: list[tuple[str, Callable[[Spec], None]]] = [
    ("args", added("process", "args", "--debug")),
    ("args", put("process", "args", 0, "/usr/bin/other")),
    ("args", put("process", "args", 3, "another secret")),
    ("args", lambda s: s["process"]["args"].reverse()),
    ("cwd", put("process", "cwd", "/")),
    ("env", added("process", "env", "NEW=1")),
    ("env", put("process", "env", 0, "PATH=/bin")),
    ("env", put("process", "env", 2, "API_KEY=another")),
    ("env", put("process", "env", 1, "HOSTNAME=another")),
    ("env", lambda s: s["process"]["env"].pop(0)),
    ("env", added("process", "env", "PATH=/usr/bin")),
    ("env", added("process", "env", "DB_SERVICE_HOST=10.96.3.3")),
    ("user", put("process", "user", "uid", 0)),
    ("user", put("process", "user", "gid", 0)),
    ("user", put("process", "user", "umask", 0o27)),
    ("user", added("process", "user", "additionalGids", 3000)),
    ("capabilities", added("process", "capabilities", "bounding", "CAP_SYS_ADMIN")),
    ("capabilities", put("process", "capabilities", "ambient", ["CAP_KILL"])),
    ("no_new_privileges", put("process", "noNewPrivileges", False)),
    ("seccomp", put("linux", "seccomp", "defaultAction", "SCMP_ACT_ALLOW")),
    ("seccomp", lambda s: s["linux"].pop("seccomp")),
    ("apparmor", put("process", "apparmorProfile", "unconfined")),
    ("selinux", put("process", "selinuxLabel", "system_u:system_r:spc_t:s0:c1,c2")),
    ("rlimits", put("process", "rlimits", 0, "soft", 2048)),
    ("rlimits", lambda s: s["process"].pop("rlimits")),
    ("mounts", put("mounts", 3, "source", "/srv/other")),
    ("mounts", put("mounts", 3, "options", ["rbind", "rprivate", "ro"])),
    ("mounts", put("mounts", 11, "source", f"{made.KUBELET}/volumes/kubernetes.io~csi/pvc-model-b/mount")),
    ("mounts", lambda s: s["mounts"].pop(4)),
    ("mounts", added("mounts", made.bind("/more", "/srv/more", "ro"))),
    ("mounts", added("mounts", made.bind("/data", "/srv/over", "ro"))),
    ("mounts", put("mounts", 3, "uidMappings", [{"containerID": 0, "hostID": 1, "size": 1}])),
    ("devices", put("linux", "devices", [])),
    ("devices", put("linux", "devices", 0, "minor", 1)),
    ("devices", put("linux", "devices", 0, "fileMode", 0o600)),
    ("devices", added("linux", "devices", {"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0})),
    ("sysctl", put("linux", "sysctl", "net.core.somaxconn", "512")),
    ("namespaces", added("linux", "namespaces", {"type": "cgroup"})),
    ("rootfs", put("root", "readonly", True)),
    ("rootfs", put("linux", "rootfsPropagation", "rslave")),
    ("masked_paths", added("linux", "maskedPaths", "/proc/keys")),
    ("readonly_paths", put("linux", "readonlyPaths", [])),
    ("hooks", put("hooks", {"createRuntime": [{"path": "/bin/hook"}]})),
    ("settings", put("annotations", "glowplug.dev/io-uring", "allow")),
    ("settings", put("annotations", "glowplug.dev/of-a-later-version", "yes")),
    ("settings", put("annotations", "glowplug.dev/ready", "tcp://:8000")),
    ("settings", put("annotations", "glowplug.dev/ready.main", "tcp://:8000")),
    ("settings", put("annotations", "glowplug.dev/engine", "vllm")),
    ("settings", put("annotations", "glowplug.dev/before-capture", "exec:/bin/sleep-now")),
    ("settings", put("annotations", "glowplug.dev/after-restore", "exec:/bin/wake")),
    ("settings", put("annotations", "glowplug.dev/canary", "http://:8000/v1/models")),
    ("settings", put("annotations", "glowplug.dev/volumes", "stateless")),
    ("other", put("linux", "personality", {"domain": "LINUX32"})),
    ("other", put("process", "ioPriority", {"class": "IOPRIO_CLASS_RT"})),
]


@pytest.mark.parametrize(("part", "change"), CHANGES)
def test_every_part_that_matters_changes_the_key_and_is_reported(
    part: str, change: Callable[[Spec], None]
) -> None:
    found = made.spec()
    change(found)
    other = made.key_of(found)
    assert other.digest != COMPLETE.digest
    assert {name for name in key.PARTS if COMPLETE.parts[name] != other.parts[name]} == {part}
    assert {reason.slug for reason in differences(COMPLETE.parts, other)} == {part.replace("_", "-")}


ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("name", {"facts": replace(made.SANDBOX_FACTS, name="server-0")}),
    ("sysctl", {"sandbox_sysctl": {"kernel.shm_rmid_forced": "1"}}),
    ("extras", {"extras": {"weights": "5a"}}),
    ("image", {"chain_id": "sha256:" + "6b" * 32}),
    ("stdin", {"stdin": True}),
    ("mounts", {"mount_identity": {**made.ANSWERS, "/etc/app": "another content"}}),
    ("mounts", {"mount_identity": {**made.ANSWERS, "/model": "persistent csi.example.com handle-b"}}),
    ("mounts", {"mount_identity": {**made.ANSWERS, made.TOKENS: "admin"}}),
    ("salt", {"salt": b"another salt of that length"}),
]


@pytest.mark.parametrize(("part", "change"), ARGUMENTS)
def test_every_argument_changes_the_key(part: str, change: dict[str, Any]) -> None:
    other = made.key_of(**change)
    assert other.digest != COMPLETE.digest
    assert part in {reason.slug for reason in differences(COMPLETE.parts, other)}


def test_another_salt_is_the_reason_and_not_every_hash() -> None:
    found = made.spec()
    found["mounts"] = []
    other = made.key_of(found, salt=b"another salt of that length")
    assert [reason.part for reason in differences(made.key_of(found).parts, other)] == ["salt"]


def test_every_part_is_changed_by_some_case() -> None:
    assert {part for part, _ in CHANGES} | {part for part, _ in ARGUMENTS} | {"rules"} == set(key.PARTS)


@given(st.lists(st.sampled_from(CHANGES), min_size=1, max_size=4))
@settings(deadline=None, max_examples=60)
def test_no_two_changes_cancel_out(changes: list[tuple[str, Callable[[Spec], None]]]) -> None:
    found = made.spec()
    try:
        for _, change in changes:
            change(found)
    except (IndexError, KeyError):
        return  # one change took away what the next would change
    assert (made.key_of(found).digest == COMPLETE.digest) == (_sorted(found) == _sorted(made.spec()))


def _sorted(found: Spec) -> str:
    return json.dumps(found, sort_keys=True)


HARMLESS: list[Callable[[Spec], None]] = [
    put("annotations", "glowplug.dev/restore", "observe"),
    put("annotations", "glowplug.dev/capture", "never"),
    put("annotations", "glowplug.dev/hook-timeout", "5s"),
    put("annotations", "glowplug.dev/ready.another", "tcp://:8000"),
    put("annotations", "glowplug.dev/accept", "others"),
    put("annotations", "glowplug.dev/restored-signal", "USR1"),
    put("annotations", "glowplug.dev/share", "cluster"),
    put("annotations", "io.kubernetes.cri.image-name", "another:tag"),
    put("annotations", "somebody.else/annotation", "x"),
    put("process", "oomScoreAdj", 0),
    put("linux", "resources", "memory", "limit", 1 << 30),
    put("linux", "resources", "cpu", "shares", 2),
    put("linux", "cgroupsPath", f"/elsewhere/{made.CONTAINER}"),
    put("process", "selinuxLabel", "system_u:system_r:container_t:s0:c8,c9"),
]


@pytest.mark.parametrize("change", HARMLESS)
def test_what_comes_from_the_new_pod_is_no_part(change: Callable[[Spec], None]) -> None:
    found = made.spec()
    change(found)
    assert made.key_of(found).digest == COMPLETE.digest


def test_an_ignored_variable_may_differ_but_not_be_missing() -> None:
    def of(env: list[str], ignore: str) -> str:
        found = made.spec()
        found["process"]["env"] += env
        if ignore:
            found["annotations"]["glowplug.dev/ignore-env"] = ignore
        return made.key_of(found).digest

    assert of(["BUILD_ID=1"], "BUILD_*, X") == of(["BUILD_ID=2"], "BUILD_*, X")
    assert of(["BUILD_ID=1"], "BUILD_*") != of([], "BUILD_*")
    assert of(["BUILD_ID=1"], "BUILD_*") != of(["BUILD_ID=1"], "")
    assert of(["BUILD_ID=1"], "") != of(["BUILD_ID=2"], "")


def _without(place: str) -> dict[str, str]:
    return {name: answer for name, answer in made.ANSWERS.items() if name != place}


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("image", {"chain_id": ""}),
        ("stdin", {"stdin": None}),
        ("sysctl", {"sandbox_sysctl": None}),
        ("extra weights", {"extras": {"weights": None}}),
        ("mount /etc/app", {"mount_identity": _without("/etc/app")}),
        ("mount /etc/app", {"mount_identity": {**made.ANSWERS, "/etc/app": None}}),
        ("mount /etc/app", {"mount_identity": {**made.ANSWERS, "/etc/app": ""}}),
        ("mount /model", {"mount_identity": _without("/model")}),
        (f"mount {made.TOKENS}", {"mount_identity": _without(made.TOKENS)}),
    ],
)
def test_an_unknown_part_makes_a_key_that_is_equal_to_none(part: str, change: dict[str, Any]) -> None:
    found = made.key_of(**change)
    assert found.digest == ""
    assert list(found.unknown) == [part]
    assert [reason.slug for reason in differences(found.parts, found)] == ["unknown-fact"]


def test_a_raw_block_device_makes_the_key_unknown() -> None:
    """Its number is the node's: the next pod's volume may have it."""
    found = made.spec()
    found["linux"]["devices"].append({"path": "/dev/xvda", "type": "b", "major": 8, "minor": 16})
    assert list(made.key_of(found).unknown) == ["device /dev/xvda"]
    found["linux"]["maskedPaths"] = []
    found["process"]["capabilities"]["bounding"] = ["CAP_SYS_ADMIN"]
    assert made.key_of(found).unknown == {}


def test_a_container_s_own_setting_goes_before_the_pod_s() -> None:
    def of(**ready: str) -> str:
        found = made.spec()
        found["annotations"] |= {
            f"glowplug.dev/{name.replace('_', '.')}": value for name, value in ready.items()
        }
        return made.key_of(found).digest

    assert of(ready="tcp://:1", ready_main="tcp://:2") == of(ready="tcp://:2")
    assert of(ready="tcp://:1", ready_other="tcp://:2") == of(ready="tcp://:1")
    assert of(ready="tcp://:1", ready_main="") == of()


def test_parts_of_other_rules_are_not_compared() -> None:
    captured = {"rules": 2, "env": {}, "salt": "x"}
    (reason,) = differences(captured, COMPLETE)
    assert (reason.slug, reason.needs) == ("rules", "version 2 of the matching rules")


def test_a_mount_that_no_rule_knows_makes_the_key_unknown() -> None:
    found = made.spec()
    found["mounts"].append(made.bind("/x", f"{made.KUBELET}/of-a-later-kubelet", "rw"))
    assert list(made.key_of(found).unknown) == ["mount /x"]


def test_a_mount_that_is_mounted_over_still_counts() -> None:
    def of(lower: str) -> str:
        found = made.spec()
        found["mounts"] += [made.bind("/twice", lower, "ro"), made.bind("/twice", "/srv/upper", "ro")]
        return made.key_of(found).digest

    assert of("/srv/one") != of("/srv/other")


def test_a_part_of_another_type_is_a_difference_though_python_calls_it_equal() -> None:
    captured = COMPLETE.parts | {"no_new_privileges": 1}
    assert [reason.slug for reason in differences(captured, COMPLETE)] == ["no-new-privileges"]


def test_a_short_salt_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        made.key_of(salt=b"short")


def test_equal_values_under_two_names_have_two_hashes() -> None:
    found = made.spec()
    found["process"]["env"] += ["A=same", "B=same"]
    env: Any = made.key_of(found).parts["env"]
    assert env["A"] != env["B"]


def test_text_that_is_no_unicode_still_has_a_key() -> None:
    found = made.spec()
    found["process"]["env"].append("X=\udcff")
    assert len(made.key_of(found).digest) == 64


def test_making_a_key_changes_nothing() -> None:
    found = made.spec()
    before = copy.deepcopy(found)
    made.key_of(found)
    assert found == before


def test_settings_shown_are_the_harmless_ones() -> None:
    found = made.spec()
    found["annotations"] |= {"glowplug.dev/io-uring": "allow", "glowplug.dev/unheard": made.SECRET}
    shown = settings_of.shown(bundle.read(found))
    assert shown == {"glowplug.dev/io-uring": "allow"}
