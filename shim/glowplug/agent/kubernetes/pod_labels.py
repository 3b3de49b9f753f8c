"""A pod's labels as its owner gave them: those that Kubernetes and its controllers make are left out."""

from collections.abc import Mapping

from glowplug.containerd.cri import Cri
from glowplug.containerd.records import POD_NAME_LABEL, POD_NAMESPACE_LABEL
from glowplug.errors import ContainerdError

_MADE = (
    "kubernetes.io/",
    "k8s.io/",
    "pod-template-hash",
    "controller-revision-hash",
    "controller-uid",
    "job-name",
    "pod-template-generation",
)


def of(cri: Cri, namespace: str, pod: str) -> dict[str, str]:
    """Of the pod of that name that was made last; none where there is none, or containerd does not answer."""
    try:
        found = cri.list_pod_sandbox({POD_NAMESPACE_LABEL: namespace, POD_NAME_LABEL: pod})
    except ContainerdError:
        return {}
    return owner_labels(max(found, key=lambda one: one.created_at).labels) if found else {}


def owner_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """app.kubernetes.io/… is the owner's, unlike apps.kubernetes.io/… or io.kubernetes.… ones."""
    return {
        name: value
        for name, value in labels.items()
        if name.startswith("app.kubernetes.io/")
        or not (name.startswith("io.kubernetes.") or any(made in name for made in _MADE))
    }
