"""Which of a pod's labels go along with its checkpoint."""

from glowplug.agent.kubernetes import pod_labels


def test_the_owner_s_labels_go_and_those_of_controllers_do_not() -> None:
    labels = {
        "app": "llama",
        "app.kubernetes.io/name": "llama",
        "team": "search",
        "io.kubernetes.pod.name": "llama-5d9",
        "pod-template-hash": "5d9",
        "controller-revision-hash": "7c",
        "statefulset.kubernetes.io/pod-name": "llama-0",
        "apps.kubernetes.io/pod-index": "0",
        "batch.kubernetes.io/job-name": "j",
        "job-name": "j",
    }
    assert set(pod_labels.owner_labels(labels)) == {"app", "app.kubernetes.io/name", "team"}
