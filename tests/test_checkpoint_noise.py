"""Noise: recognised by value or as a complete group, never by a name alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import checkpoint_made as made

from glowplug.checkpoint.noise import SandboxFacts, by_value, in_args, metadata, shown

FACTS = made.SANDBOX_FACTS


def pod_called(name: str) -> SandboxFacts:
    """A pod whose name somebody chose."""
    return SandboxFacts(name=name, namespace="models", uid="", hostname=name, node_names=("localhost",))


def made_by(label: str, name: str) -> SandboxFacts:
    """A pod whose name a controller made, which left this label on it."""
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
        ("X", f"my{made.POD}"),
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
    "value",
    [
        "10.1.2.3:8000",
        "http://10.1.2.3:8000/x",
        "a,10.1.2.3,b",
        f"uid={made.UID}",
        "[10.1.2.3]",
        f"it-false,cn-main,pu-{made.UID}",  # Datadog's admission controller: DD_EXTERNAL_ENV
        f"/kubepods/burstable/pod{made.UID}/x",
        f"kubepods-burstable-pod{made.UID.replace('-', '_')}.slice",
    ],
)
def test_a_distinctive_value_is_noise_where_it_is_separate(value: str) -> None:
    cleaned = by_value(FACTS, "X", value)
    assert cleaned != value
    assert "10.1.2.3" not in cleaned
    assert made.UID.partition("-")[0] not in cleaned


def test_an_ipv6_address_is_noise_in_brackets_and_alone() -> None:
    facts = SandboxFacts(name="p", namespace="n", uid="", ips=("fd00::12",))
    assert shown(by_value(facts, "X", "fd00::12")) == "<pod-ip>"
    assert "fd00::12" not in by_value(facts, "X", "http://[fd00::12]:80/")
    assert by_value(facts, "X", "fd00::12:1") == "fd00::12:1"


@pytest.mark.parametrize("pod", ["llama-3", "llama", "mixtral-8x22b"])
def test_a_pod_called_like_its_model_does_not_hide_the_model(pod: str) -> None:
    facts = pod_called(pod)
    assert by_value(facts, "MODEL", pod) == pod
    assert by_value(facts, "MODEL_URL", f"http://models/{pod}.gguf") == f"http://models/{pod}.gguf"
    assert by_value(facts, "LABELS", f"model={pod}") == f"model={pod}"
    args = ["serve", f"--model={pod}", "--model", pod, pod, f"serve {pod}"]
    assert in_args(facts, args) == args


def test_a_name_that_is_no_member_s_is_noise_where_it_is_spoken_of() -> None:
    for name in ("HOSTNAME", "POD_NAME", "MyPodName", "RAY_CLOUD_INSTANCE_ID", "--pod-name"):
        assert shown(by_value(pod_called("mixtral-8x22b"), name, "mixtral-8x22b")) == "<pod-name>"


def test_a_stable_name_is_who_the_process_is(pod: str = "web-0") -> None:
    facts = pod_called(pod)
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
        f"{made.POD}-web-sidecar-proxy",  # Consul's ids; a claim of a generic ephemeral volume
        f"id=models-{made.POD}",
        f'{{"peers": {{"{made.POD}": ["me"]}}}}',
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


@pytest.mark.parametrize(
    "value",
    [
        '{"nodeName":"@NODE"}',
        '{"node":{"name":"@NODE","zone":"a"}}',
        '{"meta": {"pod": {"name": "@POD", "uid": "@UID"}, "node": "@NODE"}}\n',
        '{\n  "node": {\n    "name": "@NODE"\n  }\n}',
        '[{"name":"NODE_NAME","value":"@NODE"},{"name":"MODEL","value":"llama"}]',
        '{"args":["--node-name=@NODE","--advertise","http://@IP:8000"]}',
        '{"inner":"{\\"nodeName\\":\\"@NODE\\"}"}',
        '{ "nodeName" : "@NODE" }',  # as nobody's library writes it
        "{'node': '@NODE'}",
        "{node: @NODE}",
        "server:\n  node: @NODE\n  port: 80\n",
        "exec server --node-name @NODE --port 80",
        r"{\"nodeName\": \"@NODE\"}",
    ],
)
@pytest.mark.parametrize("pod", ["web-7d9f8c6b5d-x2k4q", "my-pod"])
def test_names_are_found_in_json_yaml_and_scripts(value: str, pod: str) -> None:
    def of(pod: str, uid: str, ip: str, node: str) -> str:
        facts = SandboxFacts(name=pod, namespace="m", uid=uid, ips=(ip,), hostname=pod, node_names=(node,))
        own = {"@POD": pod, "@UID": uid, "@IP": ip, "@NODE": node}
        filled = value
        for name, one in own.items():
            filled = filled.replace(name, one)
        return by_value(facts, "X", filled)

    other_pod = "web-7d9f8c6b5d-m7vtb" if pod.startswith("web") else "her-pod"
    assert of(pod, made.UID, "10.1.2.3", "worker-1") == of(other_pod, "9" * 32, "10.1.2.9", "gpu-node-7")


@pytest.mark.parametrize(
    "value",
    [
        '{"model":"llama"}',
        '{"pod":{"model":"llama"}}',
        '{"model":{"name":"llama"}}',
        '[{"name":"MODEL","value":"llama"}]',
        '["llama"]',
        "serve the host llama now",
        "model: llama",
        "--model llama",
    ],
)
def test_a_pod_called_like_its_model_does_not_hide_the_model_in_json(value: str) -> None:
    assert by_value(pod_called("llama"), "X", value) == value


def test_nobody_can_write_a_placeholder_in_json() -> None:
    forged = r'{"pod":"\u0000pod-name\u0000","x":"10.1.2.3"}'
    assert by_value(pod_called("llama"), "X", forged) == forged
    assert by_value(FACTS, "X", forged) != by_value(FACTS, "X", f'{{"pod":"{made.POD}","x":"10.1.2.3"}}')


CRON = "train-29384756-x2k4q"


@pytest.mark.parametrize(
    ("facts", "value"),
    [
        (pod_called(made.POD), "k8s.replicaset.name=server-7d9f8c6b5d,service.name=server"),
        (pod_called(CRON), "train-29384756"),
        (pod_called(CRON), f"/logs/{CRON}/out"),
        (made_by("job-name", CRON), "k8s.job.name=train-29384756"),
    ],
)
def test_the_name_of_an_owner_that_a_machine_made_is_noise(facts: SandboxFacts, value: str) -> None:
    cleaned = by_value(facts, "X", value)
    assert cleaned != value
    assert "29384756" not in cleaned
    assert "7d9f8c6b5d" not in cleaned


@pytest.mark.parametrize(
    ("labels", "value"),
    [
        ({"job-name": "mixtral-8x22b"}, "mixtral-8x22b"),
        ({"job-name": "llama-20260101"}, "llama-20260101"),
        ({"ray.io/cluster": "mixtral-8x22b"}, "mixtral-8x22b"),
        ({"workflows.argoproj.io/workflow": "mixtral-8x22b"}, "mixtral-8x22b"),
    ],
)
def test_an_owner_called_like_its_model_does_not_hide_the_model(labels: dict[str, str], value: str) -> None:
    facts = SandboxFacts(name=f"{value}-x2k4q", namespace="m", uid="", labels=labels)
    for text in (value, f"--model={value}", f"model={value},x=1", f"hf://{value}/weights"):
        assert by_value(facts, "MODEL", text) == text


def test_an_owner_s_uid_is_noise_where_a_label_says_it() -> None:
    facts = SandboxFacts("p", "m", "", labels={"batch.kubernetes.io/controller-uid": made.UID})
    assert shown(by_value(facts, "X", made.UID)) == "<owner-uid>"


def test_a_pod_of_a_workflow_made_again_is_the_same() -> None:
    def of(workflow: str, digits: str) -> list[str]:
        pod = f"{workflow}-train-{digits}"
        facts = SandboxFacts(pod, "m", "", hostname=pod, labels={"workflows.argoproj.io/workflow": workflow})
        template = f'{{"name":"train","archiveLocation":{{"s3":{{"key":"{workflow}/{pod}"}}}}}}'
        variables = {
            "ARGO_POD_NAME": pod,
            "ARGO_NODE_ID": f"{workflow}-{digits}",
            "ARGO_WORKFLOW_NAME": workflow,
            "ARGO_TEMPLATE": template,
        }
        return [by_value(facts, name, value) for name, value in variables.items()]

    assert of("flow-x2k4q", "2938475610") == of("flow-m7vtb", "1122334455")
    assert of("flow-1760000000", "2938475610") == of("flow-1760086400", "1122334455")


def test_a_ray_job_s_cluster_made_again_is_the_same() -> None:
    def of(suffix: str, pod: str) -> list[str]:
        cluster = f"rayjob-{suffix}"
        labels = {"ray.io/cluster": cluster, "ray.io/group": "small"}
        facts = SandboxFacts(f"{cluster}-small-worker-{pod}", "m", "", labels=labels)
        head = f"{cluster}-head-svc.m.svc.cluster.local"
        variables = {"RAY_CLUSTER_NAME": cluster, "FQ_RAY_IP": head, "RAY_ADDRESS": f"{head}:6379"}
        return [by_value(facts, name, value) for name, value in variables.items()]

    assert of("x2k4q", "m7vtb") == of("bbbbb", "x2k4q")


def test_labels_of_a_rollout_are_noise_in_a_downward_api_volume() -> None:
    def of(hash: str, labelled: str = "") -> str:
        facts = SandboxFacts(f"web-{hash}-x2k4q", "m", "", labels={"pod-template-hash": labelled or hash})
        return metadata(facts, f'app="web"\npod-template-hash="{hash}"')

    assert of("7d9f8c6b5d") == of("5f4b6c7d8f")
    assert of("7d9f8c6b5d") != of("5f4b6c7d8f", labelled="another")


def test_attributes_are_looked_at_one_by_one() -> None:
    facts = pod_called("llama")
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
    assert by_value(pod_called("p"), "DB_SERVER", "localhost") == "localhost"


def test_loopback_and_any_address_stand_for_no_pod() -> None:
    facts = SandboxFacts(name="p", namespace="n", uid="", ips=("127.0.0.1", "0.0.0.0", "::1"))
    assert [by_value(facts, "X", ip) for ip in facts.ips] == list(facts.ips)


def test_noise_in_args_is_a_value_or_behind_its_flag() -> None:
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
        ("--labels=node-name=@NODE", "--labels=node-name=<node-name>"),
        (
            '{"key":"host.name","value":{"stringValue":"@NODE"}}',
            '{"key":"host.name","value":{"stringValue":"<node-name>"}}',
        ),
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


def test_a_node_s_name_is_noise_in_a_variable_of_its_name_also_with_something_behind() -> None:
    assert by_value(FACTS, "DP_SERVICE_NODE_NAME", "gpu-node-7-virtual") == "\0node-name\0-virtual"
    assert by_value(FACTS, "NODE_NAME", "gpu-node-71") == "gpu-node-71"
    assert by_value(FACTS, "NODE_TYPE", "gpu-node-7-large") == "gpu-node-7-large"


def test_a_pod_called_like_its_model_does_not_hide_the_model_among_attributes() -> None:
    assert by_value(pod_called("llama"), "X", "pod=llama,model=llama") == "pod=\0pod-name\0,model=llama"


def test_digits_are_an_ordinal_or_a_hash() -> None:
    assert pod_called("web-0").stable_name == "web-0"
    assert pod_called("web-99999").stable_name == "web-99999"
    assert pod_called("flow-x2k4q-train-2938475610").stable_name == ""
    flow = made_by("workflows.argoproj.io/workflow", "flow-x2k4q-train-2938475610")
    assert shown(by_value(flow, "X", flow.name)) == "<pod-name>"
