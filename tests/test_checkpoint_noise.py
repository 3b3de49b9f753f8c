"""Noise: recognised by value or as a whole group, never by a name alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import checkpoint_made as made

from glowplug.checkpoint.noise import SandboxFacts, by_value, in_args, metadata, shown

FACTS = made.SANDBOX_FACTS


def named(name: str) -> SandboxFacts:
    """A pod that somebody named by hand."""
    return SandboxFacts(name=name, namespace="models", uid="", hostname=name, node_names=("localhost",))


def made_by(label: str, name: str) -> SandboxFacts:
    """A pod that a controller named, which left this label on it."""
    return SandboxFacts(name=name, namespace="models", uid="", hostname=name, labels={label: "x"})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("HOSTNAME", made.POD, "<pod-name>"),
        ("ANYTHING", made.POD, "<pod-name>"),
        ("X", made.UID, "<pod-uid>"),
        ("POD_IP", "10.1.2.3", "<pod-ip>"),
        ("NODE_NAME", "gpu-node-7", "<node-name>"),
    ],
)
def test_a_value_of_this_sandbox_is_noise(name: str, value: str, expected: str) -> None:
    assert shown(by_value(FACTS, name, value)) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # the right name, another value
        ("HOSTNAME", "db.example"),
        ("POD_IP", "10.1.2.4"),
        ("POD_NAME", "server"),
        # the value as a part of another
        ("X", "10.1.2.33"),
        ("X", "110.1.2.3"),
        ("X", "10.1.2.3.example"),
        ("X", f"{made.POD}-cache"),
        # an address of the node, of which there may be all that a service ever had (rule 3.5)
        ("HOST_IP", "192.168.7.7"),
        ("DATABASE_URL", "postgres://192.168.7.7:5432/"),
        # a node's name behind a variable that does not speak of nodes
        ("GPU_TYPE", "gpu-node-7"),
        # nobody's
        ("NAMESPACE", "models"),
        ("X", ""),
    ],
)
def test_anything_else_is_not(name: str, value: str) -> None:
    assert by_value(FACTS, name, value) == value


@pytest.mark.parametrize(
    "value", ["10.1.2.3:8000", "http://10.1.2.3:8000/x", "a,10.1.2.3,b", f"uid={made.UID}", "[10.1.2.3]"]
)
def test_a_distinctive_value_is_noise_where_it_stands_on_its_own(value: str) -> None:
    cleaned = by_value(FACTS, "X", value)
    assert cleaned != value
    assert "10.1.2.3" not in cleaned
    assert made.UID not in cleaned


def test_an_ipv6_address_is_noise_in_brackets_and_alone() -> None:
    facts = SandboxFacts(name="p", namespace="n", uid="", ips=("fd00::12",))
    assert shown(by_value(facts, "X", "fd00::12")) == "<pod-ip>"
    assert "fd00::12" not in by_value(facts, "X", "http://[fd00::12]:80/")
    assert by_value(facts, "X", "fd00::12:1") == "fd00::12:1"


@pytest.mark.parametrize("pod", ["llama-3", "llama", "mixtral-8x22b"])
def test_a_pod_named_like_its_model_does_not_hide_the_model(pod: str) -> None:
    facts = named(pod)
    assert by_value(facts, "MODEL", pod) == pod
    assert by_value(facts, "MODEL_URL", f"http://models/{pod}.gguf") == f"http://models/{pod}.gguf"
    assert by_value(facts, "LABELS", f"model={pod}") == f"model={pod}"
    args = ["serve", f"--model={pod}", "--model", pod, pod, f"serve {pod}"]
    assert in_args(facts, args) == args


def test_a_name_that_is_no_member_s_is_noise_where_it_is_spoken_of() -> None:
    for name in ("HOSTNAME", "POD_NAME", "MyPodName", "RAY_CLOUD_INSTANCE_ID", "--pod-name"):
        assert shown(by_value(named("mixtral-8x22b"), name, "mixtral-8x22b")) == "<pod-name>"


def test_a_stable_name_is_who_the_process_is(pod: str = "web-0") -> None:
    facts = named(pod)
    assert facts.stable_name == pod
    assert by_value(facts, "HOSTNAME", pod) == pod
    assert by_value(facts, "POD_NAME", pod) == pod
    assert by_value(facts, "PEERS", f"http://{pod}.web:80") == f"http://{pod}.web:80"
    labelled = SandboxFacts("web-x2k4q", "m", "", labels={"statefulset.kubernetes.io/pod-name": "web-x2k4q"})
    assert labelled.stable_name == "web-x2k4q"


def test_a_stable_name_is_noise_where_its_owner_says_so() -> None:
    facts = SandboxFacts(name="web-0", namespace="m", uid="", hostname="web-0", interchangeable=True)
    assert facts.stable_name == ""
    assert shown(by_value(facts, "HOSTNAME", "web-0")) == "<pod-name>"
    assert by_value(facts, "MODEL", "web-0") == "web-0"


@pytest.mark.parametrize(
    "value",
    [
        f"k8s.pod.name={made.POD},service.name=web",
        f"queue@{made.POD}",
        f"http://{made.POD}.web.models.svc:8000",
        f"service.instance.id=models.{made.POD}.main",
        f"exec server --name {made.POD} --port 1",
        f"/logs/{made.POD}/out.log",
    ],
)
def test_a_machine_made_name_is_noise_inside_a_longer_value(value: str) -> None:
    cleaned = by_value(FACTS, "X", value)
    assert made.POD not in cleaned
    assert "\0pod-name\0" in cleaned


@pytest.mark.parametrize(
    ("label", "pod"),
    [
        ("controller-revision-hash", "agent-x2k4q"),
        ("batch.kubernetes.io/job-name", "train-x2k4q"),
        ("batch.kubernetes.io/job-name", "train-0-x2k4q"),
        ("ray.io/group", "raycluster-worker-small-group-x2k4q"),
        ("pod-template-hash", "web-x2k4q"),
    ],
)
def test_a_name_is_machine_made_where_a_controller_left_its_label(label: str, pod: str) -> None:
    facts = made_by(label, pod)
    assert pod not in by_value(facts, "X", f"http://{pod}:80")
    assert pod not in by_value(facts, "X", pod)


def test_a_long_generated_name_is_known_also_where_it_was_cut() -> None:
    """Of 63 characters, 58 are of the base: the dash before the five may be gone (apiserver, names/generate.go)."""
    name = ("b" * 40 + "-predictor-7d9f8c6b5")[:58].ljust(58, "b") + "x2k4q"
    assert len(name) == 63
    facts = SandboxFacts(name=name, namespace="m", uid="", hostname=name)
    assert name not in by_value(facts, "X", f"http://{name}:80")


def test_attributes_are_looked_at_one_by_one() -> None:
    facts = named("llama")
    cleaned = by_value(
        facts, "OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=llama,model=llama,k8s.node.name=localhost"
    )
    assert cleaned == "k8s.pod.name=\0pod-name\0,model=llama,k8s.node.name=\0node-name\0"


def test_metadata_of_a_downward_api_volume_is_read_line_by_line() -> None:
    def of(pod: str, uid: str, seen: str) -> str:
        facts = SandboxFacts(name=pod, namespace="m", uid=uid)
        lines = [f'pod="{pod}"', f'uid="{uid}"', 'app="web"', f'kubernetes.io/config.seen="{seen}"']
        return metadata(facts, "\n".join([*lines, f'glowplug.dev/outcome="{seen}"']))

    assert of("web-7d9f8c6b5d-x2k4q", made.UID, "1") == of("web-7d9f8c6b5d-m7vtb", "9" * 32, "2")
    assert 'app="web"' in of("web", made.UID, "1")
    assert metadata(FACTS, "no metadata") == "no metadata"


def test_a_node_called_localhost_does_not_hide_localhost() -> None:
    assert by_value(named("p"), "DB_SERVER", "localhost") == "localhost"


def test_loopback_and_any_address_stand_for_nobody() -> None:
    facts = SandboxFacts(name="p", namespace="n", uid="", ips=("127.0.0.1", "0.0.0.0", "::1"))
    assert [by_value(facts, "X", ip) for ip in facts.ips] == list(facts.ips)


def test_noise_in_args_stands_whole_or_behind_its_flag() -> None:
    cleaned = in_args(FACTS, ["server", "--ip=10.1.2.3", "--node-name", "gpu-node-7", "gpu-node-7", made.POD])
    assert cleaned[1] != "--ip=10.1.2.3"
    assert cleaned[1].startswith("--ip=")
    assert shown(cleaned[3]) == "<node-name>"
    assert cleaned[4] == "gpu-node-7"
    assert shown(cleaned[5]) == "<pod-name>"


def test_nobody_can_write_a_placeholder() -> None:
    assert shown("<pod-name>") is None
    assert shown("pod-name") is None
    forged = by_value(FACTS, "HOSTNAME", made.POD)
    assert "\0" in forged
    assert by_value(FACTS, "X", forged) == forged
    assert by_value(FACTS, "X", "\0pod-name\0 10.1.2.3") == "\0pod-name\0 10.1.2.3"


@given(st.text(max_size=20), st.text(max_size=40))
@settings(deadline=None)
def test_a_value_that_holds_none_of_the_facts_is_left_alone(name: str, value: str) -> None:
    known = (FACTS.name, FACTS.uid, FACTS.hostname, *FACTS.ips, *FACTS.node_ips, *FACTS.node_names)
    if not any(fact in value for fact in known):
        assert by_value(FACTS, name, value) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("pod_name:@POD,kube_node:@NODE,env:prod", "pod_name:<pod-name>,kube_node:<node-name>,env:prod"),
        ("pod_name:@POD kube_node:@NODE", "pod_name:<pod-name> kube_node:<node-name>"),
        ("k8s.node.name=@NODE;service.version=1", "k8s.node.name=<node-name>;service.version=1"),
        (
            '{"ns":"models", "nodeName":"@NODE", "pod":"@POD"}',
            '{"ns":"models", "nodeName":"<node-name>", "pod":"<pod-name>"}',
        ),
        ("-Dnode.name=@NODE -Dserver.port=1", "-Dnode.name=<node-name> -Dserver.port=1"),
        ("http://collector/?node=@NODE&model=a", "http://collector/?node=<node-name>&model=a"),
        ("10-1-2-3.models.pod.cluster.local", "<pod-ip-in-a-name>.models.pod.cluster.local"),
        ("0c5f2a8e6a534a0e9a556d6d2a1b7c11", "<pod-uid-without-dashes>"),
        # another attribute's, or a part of its value
        ("type=@NODE,node=@NODE-b", "type=@NODE,node=@NODE-b"),
        ('{"model":"@NODE"}', '{"model":"@NODE"}'),
        ("ip-10-1-2-3.ec2.internal", "ip-10-1-2-3.ec2.internal"),
    ],
)
def test_attributes_are_found_however_they_are_written(value: str, expected: str) -> None:
    filled, wanted = (
        text.replace("@POD", made.POD).replace("@NODE", "gpu-node-7") for text in (value, expected)
    )
    assert by_value(FACTS, "X", filled).replace("\0", "|") == wanted.replace("<", "|").replace(">", "|")


def test_a_pod_named_like_its_model_does_not_hide_the_model_among_attributes() -> None:
    assert by_value(named("llama"), "X", "pod=llama,model=llama") == "pod=\0pod-name\0,model=llama"


def test_digits_are_an_ordinal_or_a_hash() -> None:
    assert named("web-0").stable_name == "web-0"
    assert named("web-99999").stable_name == "web-99999"
    assert named("flow-x2k4q-train-2938475610").stable_name == ""
    flow = made_by("workflows.argoproj.io/workflow", "flow-x2k4q-train-2938475610")
    assert shown(by_value(flow, "X", flow.name)) == "<pod-name>"
