"""What differs between two pods of one kind and says nothing about the process: noise in env, args and small files.

Noise comes from facts about this one pod, recognised by value, never by a variable's name alone (docs/matching.md,
rules 3.1 to 3.6). How sure a value must be depends on how easily it could mean something else:

    a long uid                                          anywhere in a value, however its dashes are written
    an address of the pod                               anywhere, where it is on its own; also as it is written
                                                        in names: 10-1-2-3
    a name made by a machine (name-7d9f8c6b5d-x2k4q)    anywhere, also with something joined to it by a dash; and the
                                                        name of its owner, where a machine made that too
    any other name ("llama", "agent-x2k4q")             as the entire value of a variable, flag, attribute or field of
                                                        JSON that speaks of it: a pod called llama must not hide
                                                        --model=llama
    a stable name ("web-0")                             nowhere: it is who the process is (rule 3.3)

An address of the node is no noise (rule 3.5): a node that runs kube-proxy in IPVS mode has every service's address.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from typing import Any

from glowplug.checkpoint.bundle import OWN_ANNOTATIONS

IDENTITY = OWN_ANNOTATIONS + "identity"
INTERCHANGEABLE = "interchangeable"

_LONG = 16  # characters; a uid of the API server has 36, of a static pod 32
_NAME_LIMIT = 63  # characters of a generated name, and of a host name
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # of which Kubernetes makes suffixes (apimachinery, util/rand)
_OF_REPLICA_SET = re.compile(rf".+-[{_LETTERS}]{{6,10}}-[{_LETTERS}]{{5}}")
_GENERATED = re.compile(rf".+-[{_LETTERS}]{{5}}")
# A CronJob names its Jobs by the minute, older ones and Argo's CronWorkflow by the second (since 1970): no dates.
_MOMENT = r"(?:2[5-9][0-9]{6}|3[0-9]{7}|1[5-9][0-9]{8})"
_OF_CRON_JOB = re.compile(rf".+-{_MOMENT}-[{_LETTERS}]{{5}}")
_AT_A_MOMENT = re.compile(rf".+-{_MOMENT}")
_GENERATED_LONG = re.compile(rf".+[{_LETTERS}]{{5}}")
_ORDINAL = re.compile(r".+-[0-9]{1,5}")  # more digits are a hash: nobody has so many replicas
_OF_WORKFLOW = re.compile(r".+-[0-9]{6,10}")  # Argo Workflows ends its pods' names with a hash in digits
_WORKFLOW_LABEL = "workflows.argoproj.io/workflow"
_DASHES = str.maketrans(".:", "--")
_STATEFUL_LABEL = "statefulset.kubernetes.io/pod-name"
# Labels that a controller sets which makes its pods' names with generateName (Deployment, DaemonSet, Job, KubeRay).
_GENERATING_LABELS = (
    "pod-template-hash",
    "pod-template-generation",
    "controller-revision-hash",
    "batch.kubernetes.io/job-name",
    "job-name",
    "ray.io/group",
    "grove.io/podclique",
)
_JOB_LABELS = ("batch.kubernetes.io/job-name", "job-name")
_OWNER_UID_LABELS = ("batch.kubernetes.io/controller-uid", "controller-uid")
_RAY_CLUSTER_LABEL = "ray.io/cluster"
_ROLLOUT_LABELS = ("pod-template-hash", "controller-revision-hash", "pod-template-generation")
_POD_WORDS = frozenset(("pod", "podname", "hostname", "host"))
_INSTANCE_WORDS = frozenset(("id", "name"))  # beside "instance"
_NODE_WORDS = frozenset(("node", "nodename", "nodeid", "hostname", "host"))
_UID_WORDS = frozenset(("uid", "poduid"))


@dataclass(frozen=True)
class SandboxFacts:
    """What is known of the pod sandbox and its node; empty where it is not known.

    `labels`: the pod's, as containerd keeps them. `node_ips` are known and never noise.
    """

    name: str
    namespace: str
    uid: str
    ips: tuple[str, ...] = ()
    hostname: str = ""
    node_names: tuple[str, ...] = ()
    node_ips: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    interchangeable: bool = False  # its owner says so of pods with stable names (IDENTITY)

    @cached_property
    def stable_name(self) -> str:
        """The pod's name where it outlives the pod: web-0 of a StatefulSet or LeaderWorkerSet; else "" (rule 3.3)."""
        return self.name if self._is_stable(self.name) else ""

    @cached_property
    def anywhere(self) -> tuple[tuple[str, str], ...]:
        """Distinctive values (rules 3.1, 3.2), each with its placeholder."""
        ips = [ip for ip in self.ips if _is_own(ip)]
        values = [(ip, "pod-ip") for ip in ips]
        # 10-1-2-3.models.pod.cluster.local
        values += [(ip.translate(_DASHES), "pod-ip-in-a-name") for ip in ips]
        for name, what in ((self.name, "pod-name"), (self.hostname, "hostname")):
            if name and self._is_machine_made(name):
                values += [(f"{self._workflow}/{name}", f"workflow-and-{what}")] if self._workflow else []
                values.append((name, what))
        values += self._owner_names
        return tuple((value, _placeholder(what)) for value, what in values)

    @cached_property
    def uids(self) -> tuple[tuple[str, str], ...]:
        """The pod's uid and its owner's (rule 3.1), each with its placeholder, as they may be written."""
        owner = next((self.labels[label] for label in _OWNER_UID_LABELS if label in self.labels), "")
        return tuple(
            (uid.replace("-", dash), _placeholder(what + how))
            for uid, what in ((self.uid, "pod-uid"), (owner, "owner-uid"))
            if len(uid) >= _LONG
            for dash, how in (("-", ""), ("", "-without-dashes"), ("_", "-with-underscores"))
            if dash == "-" or "-" in uid
        )

    @cached_property
    def known(self) -> tuple[str, ...]:
        """Everything by which noise is recognised: a value that holds none of it has none."""
        return tuple({value for value, *_ in (*self.full_values, *self.anywhere, *self.uids)})

    @cached_property
    def _owner_names(self) -> list[tuple[str, str]]:
        """Rule 3.2: of a ReplicaSet, a CronJob's Job, a RayJob's or RayService's cluster, all with a generated name."""
        found = []
        owner = self.name.rpartition("-")[0]
        if _OF_REPLICA_SET.fullmatch(self.name) and self._is_machine_made(self.name):
            found.append((owner, "replica-set-name"))
        jobs = {owner} if _OF_CRON_JOB.fullmatch(self.name) else set()
        jobs |= {self.labels[label] for label in _JOB_LABELS if label in self.labels}
        found += [(job, "job-name") for job in sorted(jobs) if _AT_A_MOMENT.fullmatch(job)]
        if _GENERATED.fullmatch(self._ray_cluster):
            found.append((f"{self._ray_cluster}-head-svc", "ray-head-service"))
        return found

    @property
    def _workflow(self) -> str:
        return self.labels.get(_WORKFLOW_LABEL, "")

    @property
    def _ray_cluster(self) -> str:
        return self.labels.get(_RAY_CLUSTER_LABEL, "")

    @cached_property
    def full_values(self) -> tuple[tuple[str, str, str], ...]:
        """Names (rule 3.2): (value, placeholder, what a variable's name must speak of)."""
        pod = [(self.name, "pod-name"), (self.hostname, "hostname")]
        found = [(name, what, "pod") for name, what in pod if not self._is_stable(name)]
        found += [(name, "node-name", "node") for name in self.node_names]
        found += [(self.uid, "pod-uid", "uid")]
        found += [(one, "workflow-node", "node") for one in _workflow_nodes(self.name)]
        if _GENERATED.fullmatch(self._workflow) or _AT_A_MOMENT.fullmatch(self._workflow):
            found.append((self._workflow, "workflow-name", "workflow"))
        if _GENERATED.fullmatch(self._ray_cluster):
            found.append((self._ray_cluster, "cluster-name", "cluster"))
        return tuple((value, _placeholder(what), spoken) for value, what, spoken in found if value)

    def _is_machine_made(self, name: str) -> bool:
        if self._is_cut(name):
            name = self.name
        if self.labels.get(_STATEFUL_LABEL):
            return False
        if any(form.fullmatch(name) for form in (_OF_REPLICA_SET, _OF_CRON_JOB)):
            return True
        if len(name) == _NAME_LIMIT and _GENERATED_LONG.fullmatch(name):
            return True
        if _OF_WORKFLOW.fullmatch(name) and _WORKFLOW_LABEL in self.labels:
            return True
        return bool(_GENERATED.fullmatch(name)) and any(label in self.labels for label in _GENERATING_LABELS)

    def _is_cut(self, hostname: str) -> bool:
        """Whether it is the pod's name, cut to a host name's length by the kubelet."""
        return len(hostname) >= _NAME_LIMIT - 2 and self.name.startswith(hostname)

    def _is_stable(self, name: str) -> bool:
        if self.interchangeable or self._is_machine_made(name):
            return False
        return bool(_ORDINAL.fullmatch(name)) or (bool(name) and self.labels.get(_STATEFUL_LABEL) == name)


def _workflow_nodes(name: str) -> list[str]:
    """The names that Argo Workflows may know a pod's node by: WORKFLOW-HASH of the pod WORKFLOW-TEMPLATE-HASH."""
    head, _, digits = name.rpartition("-")
    if not _OF_WORKFLOW.fullmatch(name):
        return []
    words = head.split("-")
    return [f"{'-'.join(words[:n])}-{digits}" for n in range(1, len(words))]


def by_value(sandbox: SandboxFacts, name: str, value: str) -> str:
    """The value with noise replaced by placeholders; `name` is the variable or flag before it.

    A placeholder holds a NUL, which no variable or argument can: nobody can write one.
    """
    if "\0" in value or not any(known in value for known in sandbox.known):
        return value
    full_value = _full_value(sandbox, name, value)
    if full_value is not None:
        return full_value
    fields = _in_json(sandbox, name, value)
    if fields is not None:
        return fields
    if _words(name) & {"nodename"} or _words(name) >= {"node", "name"}:
        for node in filter(None, sandbox.node_names):  # Consul's, worker-1-virtual
            value = _standing_alone(node).sub(_placeholder("node-name"), value)
    return _anywhere(sandbox, _PAIR.sub(lambda found: _pair(sandbox, found), value))


def _in_json(sandbox: SandboxFacts, name: str, value: str) -> str | None:
    """An object or list with the noise of each text in it replaced; None for what is none, or is written unusually.

    A text follows its own field and the one around it: {"node": {"name": "worker-1"}}.
    """
    text = value.strip()
    if text[:1] not in ("{", "[") or _NUL in text:
        return None
    try:
        found = json.loads(text)
        written = next((how for how in _JSON_FORMS if json.dumps(found, **how) == text), None)
        if written is None:
            return None
        cleaned = json.dumps(_cleaned(sandbox, name, found), **written)
    except (ValueError, RecursionError):
        return None
    return value.replace(text, _anywhere(sandbox, cleaned.replace(_NUL, "\0")))


_NUL = r"\u0000"  # as JSON has it: nobody writes a placeholder in that way either
_JSON_FORMS: tuple[dict[str, Any], ...] = tuple(
    {"separators": separators, "indent": indent, "ensure_ascii": is_ascii}
    for separators, indent in (((",", ":"), None), ((", ", ": "), None), ((",", ": "), 2), ((",", ": "), 4))
    for is_ascii in (False, True)
)
_NAMING = frozenset(
    ("name", "id", "uid", "hostname", "stringvalue")
)  # what they are of, the field around them says


def _cleaned(sandbox: SandboxFacts, name: str, value: object) -> object:
    if isinstance(value, dict):
        return {field: _cleaned(sandbox, _field(name, field, value), inner) for field, inner in value.items()}
    if isinstance(value, list):
        return [_cleaned(sandbox, name, inner) for inner in value]
    return by_value(sandbox, name, value) if isinstance(value, str) else value


def _field(around: str, field: str, object: Mapping[str, object]) -> str:
    """What a text behind `field` is called; {"name": "NODE_NAME", "value": "worker-1"} is a variable."""
    if field.lower() in _NAMING:
        return f"{around}.{field}"
    key = object.get("name", object.get("key")) if field == "value" else None
    return key if isinstance(key, str) else field


def metadata(sandbox: SandboxFacts, text: str) -> str:
    """A file of a downward API volume: labels or annotations, a line `key="value"` each (rule 3.6).

    Left out are what a kubelet or Glowplug itself writes into every pod again; other text is returned with noise
    replaced as in a value.
    """
    lines = text.splitlines()
    items = [_METADATA.fullmatch(line) for line in lines]
    if not lines or not all(items):
        return by_value(sandbox, "", text)
    kept = [item for item in items if item and not _is_written_anew(sandbox, item[1], item[2])]
    return "\n".join(f'{item[1]}="{by_value(sandbox, item[1], item[2])}"' for item in kept)


def _is_written_anew(sandbox: SandboxFacts, key: str, value: str) -> bool:
    """For each pod by the kubelet or us, for each rollout by the pod's controller, which labels it too."""
    return key.startswith(_WRITTEN_ANEW) or (key in _ROLLOUT_LABELS and sandbox.labels.get(key) == value)


_METADATA = re.compile(r'([A-Za-z0-9][A-Za-z0-9._/-]*)="(.*)"')
_WRITTEN_ANEW = ("kubernetes.io/config.", OWN_ANNOTATIONS + "outcome")


def shown(value: str) -> str | None:
    """How a value that is a placeholder and nothing else is shown, "<pod-name>"; None for any other."""
    inner = value.removeprefix("\0").removesuffix("\0")
    return f"<{inner}>" if value == _placeholder(inner) and "\0" not in inner else None


def in_args(sandbox: SandboxFacts, args: Iterable[str]) -> list[str]:
    """The arguments with noise replaced: each as one, behind its own "=", or behind the flag before it."""
    found, before = [], ""
    for arg in args:
        flag, equals, value = arg.partition("=")
        if equals and flag.startswith("-"):
            found.append(flag + equals + by_value(sandbox, flag, value))
        else:
            found.append(by_value(sandbox, before, arg))
        before = arg if arg.startswith("-") else ""
    return found


def _full_value(sandbox: SandboxFacts, name: str, value: str) -> str | None:
    for known, placeholder, spoken in sandbox.full_values:
        if value == known and _speaks(name, spoken):
            return placeholder
    return None


# An attribute in a longer value, its own value as one: k8s.node.name=worker-1 among others (OpenTelemetry),
# kube_node:worker-1 (Datadog), "nodeName": "worker-1" in JSON (Linkerd), also with its quotes escaped, node: worker-1
# in YAML, -Dnode.name=worker-1, --node-name worker-1 in a script, ?node=worker-1
_PAIR = re.compile(
    r"""(?P<before>(?:^|(?<=[\s,;&?={\["'(]))(?:-D|--)?)(?P<name>[A-Za-z_][A-Za-z0-9._/-]*)"""
    r"""(?P<between>\\*["']?[ \t]*[=:][ \t]*\\*["']?|(?<=[A-Za-z])[ ]+)"""
    r"""(?P<value>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?=\\*["'\s,;&)}\]]|$)"""
)


def _pair(sandbox: SandboxFacts, found: "re.Match[str]") -> str:
    if found["between"].isspace() and not found["before"].startswith("--"):
        return found[0]  # two words of a sentence
    full_value = _full_value(sandbox, found["name"], found["value"])
    return (
        found[0] if full_value is None else f"{found['before']}{found['name']}{found['between']}{full_value}"
    )


def _anywhere(sandbox: SandboxFacts, value: str) -> str:
    for known, placeholder in sandbox.uids:
        value = value.replace(known, placeholder)
    for known, placeholder in sandbox.anywhere:
        if known in value:  # rarely: a pattern for each address of each pod would cost milliseconds
            value = _standing_alone(known).sub(placeholder, value)
    return value


def _speaks(name: str, of: str) -> bool:
    words = _words(name)
    if of == "uid":
        return bool(words & _UID_WORDS)
    if of == "node":
        return bool(words & _NODE_WORDS)
    if of in ("workflow", "cluster"):
        return of in words
    return bool(words & _POD_WORDS) or ("instance" in words and bool(words & _INSTANCE_WORDS))


def _is_own(ip: str) -> bool:
    """Whether the address can stand for one pod: not loopback, not "any address"."""
    try:
        address = ip_address(ip)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)


def _standing_alone(value: str) -> "re.Pattern[str]":
    if _is_own(value):
        around = r"0-9A-Za-z:" if ":" in value else r"0-9A-Za-z\-"
        return re.compile(rf"(?<![{around}.]){re.escape(value)}(?![{around}]|\.[0-9A-Za-z])")
    joined = r"\-" if value.replace("-", "").isdecimal() or "--" in value else ""  # of an address: its digits
    return re.compile(rf"(?<![0-9A-Za-z{joined}]){re.escape(value)}(?![0-9A-Za-z{joined}])")


def _placeholder(what: str) -> str:
    return f"\0{what}\0"


def _words(name: str) -> frozenset[str]:
    """POD_NAME, pod-name and MyPodName alike: the words of a name, in small letters."""
    return frozenset(word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name))
