"""Mounts: carried, identity, noise or unknown, by the entire shape of the source."""

import pytest
from tests import checkpoint_made as made

from glowplug.checkpoint import bundle
from glowplug.checkpoint.mounts import (
    BACKING,
    CARRIED,
    CONTENT,
    CONTENT_OR_BACKING,
    IDENTITY,
    NOISE,
    SERVICE_ACCOUNT,
    UNKNOWN,
    VOLUME,
    classify,
    cuda_libraries,
    filling_questions,
    mount_questions,
    shared_memory,
    state_questions,
    written_identities,
)

VOLUMES = f"{made.KUBELET}/volumes/kubernetes.io~"
OTHER_POD = "/var/lib/kubelet/pods/11111111-2222-3333-4444-555555555555"


def kind_of(destination: str, source: str) -> tuple[str, str, str | None]:
    found = made.spec()
    found["mounts"] = [made.bind(destination, source, "rw")]
    (only,) = classify(bundle.read(found))
    return only.kind, only.how, only.value


@pytest.mark.parametrize(
    ("destination", "source", "expected"),
    [
        ("/etc/hosts", f"{made.KUBELET}/etc-hosts", (NOISE, "hosts", None)),
        ("/dev/termination-log", f"{made.KUBELET}/containers/main/0fa1", (NOISE, "termination-log", None)),
        ("/why", f"{made.KUBELET}/containers/main/0fa1", (NOISE, "termination-log", None)),
        ("/etc/hosts", f"{made.CRI}/sandboxes/{made.SANDBOX}/hosts", (NOISE, "hosts", None)),
        ("/dev/shm", f"{made.CRI_STATE}/sandboxes/{made.SANDBOX}/shm", (CARRIED, "shm", None)),
        (
            "/v",
            f"{made.CRI}/containers/{made.CONTAINER}/volumes/{'0a' * 32}",
            (CARRIED, "image-volume", None),
        ),
        ("/e", f"{VOLUMES}empty-dir/e", (CARRIED, "empty-dir", None)),
        ("/c", f"{VOLUMES}configmap/c", (IDENTITY, CONTENT, None)),
        ("/s", f"{VOLUMES}secret/s", (IDENTITY, CONTENT, None)),
        ("/p", f"{VOLUMES}projected/p", (IDENTITY, CONTENT, None)),
        ("/d", f"{VOLUMES}downward-api/d", (IDENTITY, CONTENT, None)),
        ("/model", f"{VOLUMES}csi/pvc-1/mount", (IDENTITY, VOLUME, "pvc-1")),
        ("/model", f"{VOLUMES}nfs/models", (IDENTITY, BACKING, "models")),
        ("/f", f"{made.KUBELET}/volume-subpaths/c/main/3", (IDENTITY, CONTENT_OR_BACKING, None)),
        ("/i", f"{made.CRI_STATE}/image-volumes/{made.SANDBOX}/sha256:1", (IDENTITY, "image", "sha256:1")),
        ("/model", "/srv/models/a", (IDENTITY, "source", "/srv/models/a")),
        (made.TOKENS, f"{VOLUMES}projected/kube-api-access-ab2de", (IDENTITY, SERVICE_ACCOUNT, None)),
    ],
)
def test_shapes(destination: str, source: str, expected: tuple[str, str, str | None]) -> None:
    assert kind_of(destination, source) == expected


def test_the_kubelet_s_root_may_lie_anywhere() -> None:
    assert kind_of("/c", f"/opt/k3s/kubelet/pods/{made.UID}/volumes/kubernetes.io~configmap/c")[1] == CONTENT


@pytest.mark.parametrize(
    ("destination", "source"),
    [
        # another pod's, or none that any rule knows
        ("/c", f"{OTHER_POD}/volumes/kubernetes.io~configmap/c"),
        ("/x", f"{VOLUMES}git-repo/x"),
        ("/x", f"{made.KUBELET}/plugins/x"),
        ("/x", f"{made.CRI}/sandboxes/{made.SANDBOX}/something-new"),
        ("/x", f"{made.CRI}/containers/{made.CONTAINER}/something-new"),
        # the right file at the wrong place
        ("/etc/passwd", f"{made.CRI}/sandboxes/{made.SANDBOX}/hostname"),
        ("/x", "relative/path"),
        ("/x", ""),
    ],
)
def test_what_no_rule_knows_is_unknown(destination: str, source: str) -> None:
    assert kind_of(destination, source)[0] == UNKNOWN


def test_a_host_path_that_only_looks_like_the_pod_s_own_is_an_identity() -> None:
    assert kind_of("/etc/hosts", "/srv/pods/x/etc-hosts") == (IDENTITY, "source", "/srv/pods/x/etc-hosts")
    assert kind_of("/dev/shm", "/srv/sandboxes/x/shm") == (IDENTITY, "source", "/srv/sandboxes/x/shm")


def test_a_token_volume_elsewhere_counts_by_content() -> None:
    assert kind_of("/elsewhere", f"{VOLUMES}projected/kube-api-access-ab2de")[1] == CONTENT


def test_without_ids_nothing_passes_for_the_pod_s_own() -> None:
    found = made.spec()
    for name in ("sandbox-uid", "sandbox-id"):
        del found["annotations"][f"io.kubernetes.cri.{name}"]
    found["linux"].pop("cgroupsPath")
    kinds = {one.destination: one.kind for one in classify(bundle.read(found))}
    assert NOISE not in kinds.values()
    assert kinds["/etc/app"] == UNKNOWN


def test_an_id_that_is_empty_fits_no_shape() -> None:
    found = made.spec()
    del found["annotations"]["io.kubernetes.cri.sandbox-uid"]
    found["mounts"] = [made.bind("/etc/hosts", "/srv/pods//etc-hosts", "ro")]
    (only,) = classify(bundle.read(found))
    assert (only.kind, only.how) == (IDENTITY, "source")


def test_a_file_system_that_no_rule_knows_is_unknown() -> None:
    found = made.spec()
    found["mounts"] = [
        {"destination": "/x", "type": "overlay", "source": "overlay", "options": ["lowerdir=/a"]}
    ]
    (only,) = classify(bundle.read(found))
    assert only.kind == UNKNOWN


def test_questions_are_what_needs_reading() -> None:
    assert mount_questions(bundle.read(made.spec())) == [
        ("/etc/app", f"{VOLUMES}configmap/app", CONTENT),
        ("/model", f"{VOLUMES}csi/pvc-model-a/mount", VOLUME),
        (made.TOKENS, f"{VOLUMES}projected/kube-api-access-x8z2q", SERVICE_ACCOUNT),
    ]


def test_the_state_of_what_can_be_written_to_and_does_not_travel_is_requested() -> None:
    found = made.spec()
    found["mounts"] += [
        made.bind("/database", f"{VOLUMES}csi/pvc-database/mount", "rw"),
        made.bind("/models", f"{VOLUMES}nfs/models", "rw"),
        made.bind("/models-ro", f"{VOLUMES}nfs/models", "ro"),
        made.bind("/part", f"{made.KUBELET}/volume-subpaths/data/main/0", "rw"),
    ]
    places = {place for place, _ in state_questions(bundle.read(found))}
    assert places == {"/data", "/database", "/models", "/part"}
    found["annotations"]["glowplug.dev/volumes"] = "stateless"
    assert state_questions(bundle.read(found)) == []


def test_a_volume_at_dev_shm_is_a_volume_and_not_the_pod_s_shared_memory_too() -> None:
    """It would be carried twice, and find itself when it is put in place."""
    found = made.spec()
    assert shared_memory(bundle.read(found)).endswith("/shm")
    found["mounts"] = [one for one in found["mounts"] if one["destination"] != "/dev/shm"]
    found["mounts"].append(made.bind("/dev/shm", f"{VOLUMES}empty-dir/shm", "rw"))
    assert shared_memory(bundle.read(found)) == ""
    assert ("/dev/shm", f"{VOLUMES}empty-dir/shm") in filling_questions(bundle.read(found))


def test_a_file_open_for_writing_on_an_identity_is_reported_with_its_mount() -> None:
    mounts = classify(bundle.read(made.spec()))
    paths = [
        "/data/db",
        "/data",
        "/database",
        "/scratch/x",
        "/dev/null",
        "/proc/self/x",
        "/etc/app/y",
        "/tmp/z",
    ]
    assert written_identities(paths, mounts) == [
        ("/data/db", "/data"),
        ("/data", "/data"),
        ("/etc/app/y", "/etc/app"),
    ]


def test_a_carried_mount_inside_an_identity_is_no_identity() -> None:
    found = made.spec()
    found["mounts"].append(made.bind("/data/tmp", f"{VOLUMES}empty-dir/t", "rw"))
    assert written_identities(["/data/tmp/x"], classify(bundle.read(found))) == []


def test_cuda_libraries_are_known_by_the_driver_s_file_names() -> None:
    found = made.spec()
    lib = "/usr/lib/x86_64-linux-gnu"
    for name in ("libcuda.so.580.159.04", "libnvidia-ml.so.580.159.04", "libcudart.so.12", "libc.so.6"):
        found["mounts"].append(made.bind(f"{lib}/{name}", f"{lib}/{name}", "ro"))
    assert cuda_libraries(bundle.read(found)) == ("libcuda.so.580.159.04", "libnvidia-ml.so.580.159.04")
