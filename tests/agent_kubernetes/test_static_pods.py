"""A static pod's containers know it by the hash of its file; its mirror in the API server has a uid of its own."""

from pathlib import Path

from tests import api_server
from tests.agent_kubernetes.made import AWAKE, RESTORED, Reported, condition, until

from glowplug.agent.kubernetes.cluster import CAPTURED, OUTCOME

HASH = "f2dbf5a1c0de4d1b8e7a6c5b4a392817"


def mirror(server: api_server.ApiServer) -> dict[str, object]:
    pod = server.pod("web", gate=CAPTURED, uid="0c5f2a8e-6a53-4a0e-9a55-6d6d2a1b7c11")
    pod["metadata"]["annotations"]["kubernetes.io/config.mirror"] = HASH
    return pod


def test_its_gate_its_annotation_and_its_events_are_written(tmp_path: Path) -> None:
    with api_server.serving() as server:
        pod = mirror(server)
        reported = Reported(server, tmp_path, [])
        reported.cluster.start()
        reported.report({**RESTORED, "pod_uid": HASH}, {**AWAKE, "pod_uid": HASH})
        until(lambda: condition(pod))
        until(lambda: server.events)
        reported.cluster.stop()
        assert pod["metadata"]["annotations"][OUTCOME] == "main=restored"  # type: ignore[index]
        assert (
            server.events[0]["involvedObject"]["uid"] == HASH
        )  # as the kubelet's own, which kubectl looks for


def test_a_gate_that_an_agent_before_left_shut_is_opened(tmp_path: Path) -> None:
    with api_server.serving() as server:
        pod = mirror(server)
        reported = Reported(server, tmp_path, [{**AWAKE, "pod_uid": HASH}])
        reported.cluster.start()
        until(lambda: condition(pod))
        reported.cluster.stop()
