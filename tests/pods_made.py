"""Pods as controllers name them, with what Kubernetes, operators and meshes write into their containers.

Each controller makes a name and the labels that it leaves on its pods; each kind of injection the variables of one pod.
"""

import json
import random
import string
import uuid
from dataclasses import dataclass

LETTERS = "bcdfghjklmnpqrstvwxz2456789"
NODES = ("worker-1", "ip-10-0-3-17.ec2.internal", "gke-pool-1-5f3c2a1b-x2k4")


@dataclass(frozen=True)
class Pod:
    """What a pod has of its own. `labels`: of the controller that made it."""

    name: str
    uid: str
    ip: str
    node: str
    labels: dict[str, str]
    gpu: int  # its index on the node
    ip_6: str
    sandbox: str
    container: str


def letters(draw: random.Random, letters: str, number: int) -> str:
    return "".join(draw.choice(letters) for _ in range(number))


def pod_of(draw: random.Random, name: str, labels: dict[str, str], node: str) -> Pod:
    return Pod(
        name=name,
        uid=str(uuid.UUID(int=draw.getrandbits(128), version=4)),
        ip=f"10.{draw.randrange(1, 255)}.{draw.randrange(255)}.{draw.randrange(1, 255)}",
        node=node,
        labels=labels,
        gpu=draw.randrange(8),
        ip_6=f"fd00:10:244:{draw.randrange(1, 1 << 16):x}::{draw.randrange(1, 1 << 16):x}",
        sandbox=letters(draw, "0123456789abcdef", 64),
        container=letters(draw, "0123456789abcdef", 64),
    )


def deployment(draw: random.Random, base: str) -> tuple[str, dict[str, str]]:
    """Rolled out again, with another hash and the same container."""
    hash = letters(draw, LETTERS, 10)
    return f"{base}-{hash}-{letters(draw, LETTERS, 5)}", {"pod-template-hash": hash}


def daemon_set(draw: random.Random, base: str) -> tuple[str, dict[str, str]]:
    return f"{base}-{letters(draw, LETTERS, 5)}", {
        "controller-revision-hash": "5f7d8b9c4d",
        "pod-template-generation": "1",
    }


def job(draw: random.Random, base: str) -> tuple[str, dict[str, str]]:
    return f"{base}-{letters(draw, LETTERS, 5)}", {"batch.kubernetes.io/job-name": base, "job-name": base}


def stateful_set(_: random.Random, base: str) -> tuple[str, dict[str, str]]:
    return f"{base}-3", {
        "statefulset.kubernetes.io/pod-name": f"{base}-3",
        "controller-revision-hash": "x-5f7d8",
    }


def leader_worker_set(_: random.Random, base: str) -> tuple[str, dict[str, str]]:
    return f"{base}-0-2", {
        "statefulset.kubernetes.io/pod-name": f"{base}-0-2",
        "leaderworkerset.sigs.k8s.io/name": base,
    }


def ray_worker(draw: random.Random, base: str) -> tuple[str, dict[str, str]]:
    return f"{base}-worker-small-{letters(draw, LETTERS, 5)}", {
        "ray.io/group": "small",
        "ray.io/node-type": "worker",
    }


def argo_workflow(draw: random.Random, base: str) -> tuple[str, dict[str, str]]:
    return f"{base}-train-{letters(draw, string.digits[1:], 10)}", {"workflows.argoproj.io/workflow": base}


def knative_revision(draw: random.Random, base: str) -> tuple[str, dict[str, str]]:
    name = f"{base}-predictor-00001-deployment-7d9f8c6b5d-{letters(draw, LETTERS, 5)}"
    return name, {
        "pod-template-hash": "7d9f8c6b5d",
        "serving.knative.dev/revision": f"{base}-predictor-00001",
    }


def job_set(draw: random.Random, base: str) -> tuple[str, dict[str, str]]:
    job = f"{base}-workers-0"
    return f"{job}-1-{letters(draw, LETTERS, 5)}", {
        "batch.kubernetes.io/job-name": job,
        "batch.kubernetes.io/job-completion-index": "1",
        "jobset.sigs.k8s.io/jobset-name": base,
    }


def volcano_job(_: random.Random, base: str) -> tuple[str, dict[str, str]]:
    return f"{base}-worker-1", {"volcano.sh/job-name": base, "volcano.sh/task-index": "1"}


def cron_job(draw: random.Random, base: str) -> tuple[str, dict[str, str]]:
    """A Job for each run, of which the pods know the name and the uid."""
    job = f"{base}-{draw.randrange(29_000_000, 32_000_000)}"
    return f"{job}-{letters(draw, LETTERS, 5)}", {
        "batch.kubernetes.io/job-name": job,
        "batch.kubernetes.io/controller-uid": str(uuid.UUID(int=draw.getrandbits(128), version=4)),
    }


def generated_workflow(draw: random.Random, base: str) -> tuple[str, dict[str, str]]:
    workflow = f"{base}-{letters(draw, LETTERS, 5)}"
    return f"{workflow}-train-{letters(draw, string.digits[1:], 10)}", {
        "workflows.argoproj.io/workflow": workflow
    }


def ray_job(draw: random.Random, base: str) -> tuple[str, dict[str, str]]:
    """A cluster for each job."""
    cluster = f"{base}-{letters(draw, LETTERS, 5)}"
    labels = {"ray.io/cluster": cluster, "ray.io/group": "small"}
    return f"{cluster}-small-worker-{letters(draw, LETTERS, 5)}", labels


def grove(draw: random.Random, base: str) -> tuple[str, dict[str, str]]:
    return f"{base}-0-decode-{letters(draw, LETTERS, 5)}", {"grove.io/podclique": f"{base}-0-decode"}


def digits_only(draw: random.Random, base: str) -> tuple[str, dict[str, str]]:
    """Kubernetes draws five digits now and then, which are no ordinal."""
    return f"{base}-7d9f8c6b5d-{letters(draw, '2456789', 5)}", {"pod-template-hash": "7d9f8c6b5d"}


def of_a_long_name(draw: random.Random, base: str) -> tuple[str, dict[str, str]]:
    """Cut to 63 characters, its suffix right behind what was cut."""
    return (base * 20)[:58] + letters(draw, LETTERS, 5), {"controller-revision-hash": "5f7d8b9c4d"}


CONTROLLERS = (
    deployment,
    daemon_set,
    job,
    stateful_set,
    leader_worker_set,
    ray_worker,
    argo_workflow,
    knative_revision,
    job_set,
    volcano_job,
    cron_job,
    generated_workflow,
    ray_job,
    grove,
    digits_only,
    of_a_long_name,
)


def downward_api(pod: Pod) -> list[str]:
    return [
        f"POD_NAME={pod.name}",
        f"POD_UID={pod.uid}",
        f"POD_IP={pod.ip}",
        f"NODE_NAME={pod.node}",
        "POD_NAMESPACE=models",
    ]


def lower_case(pod: Pod) -> list[str]:
    return [f"podName={pod.name}", f"MyPodName={pod.name}", f"my_pod_ip={pod.ip}", f"instanceId={pod.name}"]


def _replica_set(pod: Pod) -> str:
    is_of_one = "pod-template-hash" in pod.labels
    return f"k8s.replicaset.name={pod.name.rpartition('-')[0]}," if is_of_one else ""


def open_telemetry(pod: Pod) -> list[str]:
    attributes = (
        f"k8s.container.name=main,k8s.deployment.name=web,k8s.namespace.name=models,k8s.node.name={pod.node},"
        f"{_replica_set(pod)}"
        f"k8s.pod.name={pod.name},k8s.pod.uid={pod.uid},service.instance.id=models.{pod.name}.main,service.version=1"
    )
    return [
        f"OTEL_RESOURCE_ATTRIBUTES_POD_NAME={pod.name}",
        f"OTEL_RESOURCE_ATTRIBUTES_NODE_NAME={pod.node}",
        f"OTEL_RESOURCE_ATTRIBUTES={attributes}",
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector.observability:4317",
    ]


def istio(pod: Pod) -> list[str]:
    return [
        f"INSTANCE_IP={pod.ip}",
        f"ISTIO_META_POD_NAME={pod.name}",
        f"ISTIO_META_NODE_NAME={pod.node}",
        "ISTIO_META_OWNER=kubernetes://apis/apps/v1/namespaces/models/deployments/web",
        "PROXY_CONFIG={}",
    ]


def ray(pod: Pod) -> list[str]:
    return [
        f"RAY_CLOUD_INSTANCE_ID={pod.name}",
        "RAY_NODE_TYPE_NAME=small",
        "RAY_ADDRESS=raycluster-head-svc.models.svc.cluster.local:6379",
        f"KUBERAY_GEN_RAY_START_CMD=ray start --address=head:6379 --node-ip-address={pod.ip} --block",
    ]


def kserve(pod: Pod) -> list[str]:
    return [
        "K_REVISION=llama-predictor-00001",
        "PORT=8080",
        f"SERVING_POD={pod.name}",
        f"SERVING_POD_IP={pod.ip}",
    ]


def vault(pod: Pod) -> list[str]:
    return ["VAULT_LOG_LEVEL=info", "NAMESPACE=models", f"HOST_NAME={pod.name}"]


def dynamo(pod: Pod) -> list[str]:
    return [
        "DYN_NAMESPACE=models-llama",
        "DYN_DISCOVERY_BACKEND=kubernetes",
        "CONTAINER_NAME=main",
        f"DYN_POD_URL=http://{pod.ip}:9090",
        f"POD_UID={pod.uid}",
    ]


def cluster_of_peers(pod: Pod) -> list[str]:
    return [f"RABBITMQ_NODENAME=rabbit@{pod.ip}", f"ADVERTISE=http://{pod.ip}:8000", f"ID={pod.uid}"]


def linkerd(pod: Pod) -> list[str]:
    context = f'{{"ns":"models", "nodeName":"{pod.node}", "pod":"{pod.name}"}}\n'
    return [
        f"_pod_nodeName={pod.node}",
        f"_l5d_trustdomain=cluster.local;_pod_name={pod.name}",
        f"LINKERD2_PROXY_INBOUND_IPS={pod.ip}",
        f"LINKERD2_PROXY_DESTINATION_CONTEXT={context}",
    ]


def datadog(pod: Pod) -> list[str]:
    return [
        f"DD_ENTITY_ID={pod.uid}",
        f"DD_INTERNAL_POD_UID={pod.uid}",
        f"DD_TAGS=pod_name:{pod.name} kube_node:{pod.node} env:prod",
        f"DD_EXTERNAL_ENV=it-false,cn-main,pu-{pod.uid}",
    ]


def argo(pod: Pod) -> list[str]:
    workflow, _, _ = pod.name.partition("-train-")
    key = f"{workflow}/{pod.name}/main.log"
    return [
        f"ARGO_POD_NAME={pod.name}",
        f"ARGO_POD_UID={pod.uid}",
        "ARGO_CONTAINER_NAME=main",
        *_of_workflow(pod, workflow, key),
    ]


def _of_workflow(pod: Pod, workflow: str, key: str) -> list[str]:
    if "workflows.argoproj.io/workflow" not in pod.labels:
        return []
    template = {
        "name": "train",
        "archiveLocation": {"s3": {"key": key}},
        "container": {"args": ["--ip", pod.ip]},
    }
    return [
        f"ARGO_WORKFLOW_NAME={workflow}",
        f"ARGO_NODE_ID={workflow}-{pod.name.rpartition('-')[2]}",
        f"ARGO_TEMPLATE={json.dumps(template, separators=(',', ':'))}",
    ]


def jobs(pod: Pod) -> list[str]:
    """By the downward API, from the labels."""
    labels = {"JOB_NAME": "batch.kubernetes.io/job-name", "JOB_UID": "batch.kubernetes.io/controller-uid"}
    return [f"{name}={pod.labels[label]}" for name, label in labels.items() if label in pod.labels]


def consul(pod: Pod) -> list[str]:
    return [
        f"DP_CREDENTIAL_LOGIN_META1=pod=models/{pod.name}",
        f"DP_CREDENTIAL_LOGIN_META2=pod-uid={pod.uid}",
        f"DP_PROXY_ID={pod.name}-web-sidecar-proxy",
    ]


def new_relic(pod: Pod) -> list[str]:
    return [
        f"NEW_RELIC_METADATA_KUBERNETES_NODE_NAME={pod.node}",
        f"NEW_RELIC_METADATA_KUBERNETES_POD_NAME={pod.name}",
    ]


def dapr(pod: Pod) -> list[str]:
    return [f"DAPR_HOST_IP={pod.ip}", f"POD_NAME={pod.name}", "DAPR_CONTROLPLANE_NAMESPACE=dapr"]


def structured(pod: Pod) -> list[str]:
    """JSON, as Go and Python write it, and YAML."""
    facts = {"node": {"name": pod.node}, "pod": {"name": pod.name, "uid": pod.uid, "ips": [pod.ip]}}
    variables = [{"name": "NODE_NAME", "value": pod.node}, {"name": "MODEL", "value": "llama-3"}]
    return [
        f"CONTEXT={json.dumps(facts, separators=(',', ':'))}",
        f"CONTEXT_2={json.dumps(facts)}",
        f"CONTEXT_3={json.dumps(facts, indent=2)}",
        f"VARIABLES={json.dumps(variables)}",
        f"YAML=host: {pod.node}\npod: {pod.name}\nmodel: llama-3\n",
        f"START=exec server --node-name {pod.node} --ip {pod.ip}",
    ]


def ray_cluster(pod: Pod) -> list[str]:
    cluster = pod.labels.get("ray.io/cluster", "")
    address = f"{cluster}-head-svc.models.svc.cluster.local"
    return [f"RAY_CLUSTER_NAME={cluster}", f"FQ_RAY_IP={address}", f"RAY_ADDRESS={address}:6379"]


def batch(pod: Pod) -> list[str]:
    return [
        "JOB_COMPLETION_INDEX=1",
        "VC_TASK_INDEX=1",
        f"MASTER_ADDR={pod.ip}",
        "LWS_LEADER_ADDRESS=llama-0.llama.models",
    ]


def dual_stack(pod: Pod) -> list[str]:
    return [
        f"POD_IPS={pod.ip},{pod.ip_6}",
        f"LISTEN=[{pod.ip_6}]:8000",
        f"POD_DNS={pod.ip.replace('.', '-')}.models.pod.cluster.local",
    ]


def java(pod: Pod) -> list[str]:
    return [f"JAVA_TOOL_OPTIONS=-Xmx1g -Dpod.name={pod.name} -Dnode.name={pod.node} -Dhost.ip={pod.ip}"]


def files(pod: Pod) -> list[str]:
    """subPathExpr and the kubelet's own paths."""
    uid = pod.uid.replace("-", "")
    return [
        f"KUBELET_DIR=/var/lib/kubelet/pods/{pod.uid}/volumes",
        f"RUN_ID={uid}",
        f"LOGS=/logs/{pod.uid}/0.log",
    ]


INJECTED = (
    downward_api,
    lower_case,
    open_telemetry,
    istio,
    linkerd,
    datadog,
    ray,
    kserve,
    vault,
    dynamo,
    argo,
    jobs,
    consul,
    new_relic,
    dapr,
    structured,
    ray_cluster,
    batch,
    dual_stack,
    java,
    files,
    cluster_of_peers,
)
