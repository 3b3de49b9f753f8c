"""The few calls of the Kubernetes API that the agent makes, through the official client.

The only module that imports it: the client is an extra of its own (glowplug[kubernetes]). What each call needs
of RBAC is in docs/observability.md.
"""

import base64
import datetime
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from glowplug.errors import KubernetesError, UsageError

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"
COMPONENT = "glowplug"
LONGEST_MESSAGE = 1000
"""Letters of an event's or a condition's message; events.k8s.io/v1 takes 1024."""

_TIMEOUTS_S = (3.0, 5.0)  # to connect; for an answer
_STRATEGIC = "application/strategic-merge-patch+json"
_MERGE = "application/merge-patch+json"


class Unreachable(KubernetesError):
    """It may do another time: no connection, a server that is busy, a token that is being rotated."""


class Busy(Unreachable):
    """The server answers, and does not take this one now."""


class Unknown(Busy):
    """Who we say that we are is not believed (any more): a token that was rotated is in its file."""


class Forbidden(KubernetesError):
    """We have no right to it."""


_KINDS: Mapping[int, type[KubernetesError]] = {401: Unknown, 403: Forbidden, 408: Busy, 425: Busy, 429: Busy}


_STATIC_UID = re.compile(r"[0-9a-f]{32}")
_MIRROR = "kubernetes.io/config.mirror"


@dataclass(frozen=True, slots=True)
class Pod:
    """`uid` "": not known; then the pod of that name is meant, whichever it is. Of a static pod it is what the node
    knows it by, the hash of its file; its mirror in the API server has another, and names the hash in an annotation."""

    namespace: str
    name: str
    uid: str = ""

    def metadata(self, **more: object) -> dict[str, object]:
        """For a patch: the uid in it makes the server refuse where the pod is another one by now."""
        is_known = self.uid and not _STATIC_UID.fullmatch(self.uid)
        return {**({"uid": self.uid} if is_known else {}), **more}


def is_in_a_pod() -> bool:
    """Whether this process has a service account to speak with."""
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and os.path.exists(SERVICE_ACCOUNT)


class Api:
    """Every call raises Unreachable, or KubernetesError where trying again is no use."""

    def __init__(self, setting: str) -> None:
        """`setting`: "auto" for the pod's service account, else a kubeconfig's path. Raises UsageError."""
        try:
            from kubernetes import client, config
        except ImportError:
            raise UsageError(
                "the Python package kubernetes is not installed: pip install 'glowplug[kubernetes]', "
                'or set kubernetes = "off"'
            ) from None
        from yaml import YAMLError

        settings = client.Configuration()
        try:
            if setting == "auto":
                config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
            else:
                config.load_kube_config(setting, client_configuration=settings)  # type: ignore[no-untyped-call]
        except config.ConfigException as error:
            raise UsageError(f"no access to the API server ({setting}): {error}") from None
        except (YAMLError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(f"{setting} is not a kubeconfig: {type(error).__name__}") from None
        settings.retries = 0  # the writer tries again, and nobody waits for it
        self._client = client
        self._core = client.CoreV1Api(client.ApiClient(settings))

    def event(
        self, pod: Pod, kind: str, reason: str, message: str, container: str, node: str, at: float
    ) -> None:
        """An Event on the pod. `kind`: Normal or Warning; `at`: seconds since the epoch."""
        make, moment = self._client, datetime.datetime.fromtimestamp(at, datetime.UTC)
        field = f"spec.containers{{{container}}}" if container else None
        about = make.V1ObjectReference(
            api_version="v1",
            kind="Pod",
            namespace=pod.namespace,
            name=pod.name,
            uid=pod.uid or None,
            field_path=field,
        )
        self._write_event(about, pod.namespace, kind, reason, message, node, moment)

    def node_event(self, node: str, kind: str, reason: str, message: str, at: float) -> None:
        """An Event on the node, where the kubelet's own go: in the namespace default, with the name as uid."""
        about = self._client.V1ObjectReference(api_version="v1", kind="Node", name=node, uid=node)
        moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
        self._write_event(about, "default", kind, reason, message, node, moment)

    def _write_event(
        self,
        about: Any,
        namespace: str,
        kind: str,
        reason: str,
        message: str,
        node: str,
        moment: datetime.datetime,
    ) -> None:
        make = self._client
        body = make.CoreV1Event(
            metadata=make.V1ObjectMeta(generate_name=f"{about.name[:200]}.", namespace=namespace),
            involved_object=about,
            type=kind,
            reason=reason,
            message=message[:LONGEST_MESSAGE],
            source=make.V1EventSource(component=COMPONENT, host=node),
            first_timestamp=moment,
            last_timestamp=moment,
            count=1,
        )
        self._call(self._core.create_namespaced_event, namespace, body)

    def annotate(self, pod: Pod, annotations: Mapping[str, str]) -> None:
        """Set annotations of the pod."""
        body = {"metadata": pod.metadata(annotations=dict(annotations))}
        self._call(self._core.patch_namespaced_pod, pod.name, pod.namespace, body, _content_type=_MERGE)

    def condition(self, pod: Pod, kind: str, reason: str, message: str) -> None:
        """Set a condition of the pod to True."""
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message[:LONGEST_MESSAGE],
            "lastTransitionTime": now,
        }
        body = {"metadata": pod.metadata(), "status": {"conditions": [condition]}}
        self._call(
            self._core.patch_namespaced_pod_status, pod.name, pod.namespace, body, _content_type=_STRATEGIC
        )

    def waiting(self, node: str, gate: str) -> list[Pod]:
        """The node's pods that wait for a readiness gate."""
        found = self._read(
            self._core.list_pod_for_all_namespaces,
            field_selector=f"spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed",
            resource_version="0",  # from the API server's cache: without, a quorum read of all pods of the cluster
        )
        try:
            return [_pod(item) for item in found.get("items") or () if _waits(item, gate)]
        except (KeyError, TypeError, AttributeError) as error:
            raise KubernetesError(f"the API server's answer is not a list of pods: {error!r}") from None

    def namespaces(self) -> dict[str, str]:
        """The uid of each namespace of the cluster."""
        found = self._read(self._core.list_namespace, resource_version="0")
        try:
            metadata = [item["metadata"] for item in found.get("items") or ()]
            return {str(one["name"]): str(one["uid"]) for one in metadata}
        except (KeyError, TypeError, AttributeError) as error:
            raise KubernetesError(f"the API server's answer is not a list of namespaces: {error!r}") from None

    def labels(self, node: str) -> dict[str, str]:
        """The node's."""
        metadata = self._read(self._core.read_node, node).get("metadata")
        labels = metadata.get("labels") if isinstance(metadata, dict) else None
        return dict(labels) if isinstance(labels, dict) else {}

    def secret(self, namespace: str, name: str) -> dict[str, bytes]:
        """The data of a Secret, by key."""
        data = self._read(self._core.read_namespaced_secret, name, namespace).get("data") or {}
        try:
            return {str(key): base64.b64decode(value, validate=True) for key, value in data.items()}
        except (ValueError, TypeError, AttributeError):
            raise KubernetesError(f"Secret {namespace}/{name}: its data are not base64") from None

    def label(self, node: str, labels: Mapping[str, str | None]) -> None:
        """Set labels of the node; None removes one."""
        body = {"metadata": {"labels": dict(labels)}}
        self._call(self._core.patch_node, node, body, _content_type=_MERGE)

    def _read(self, function: Callable[..., Any], *arguments: object, **options: object) -> dict[str, Any]:
        """The answer as it came, without the client's models: one of a later version must not break us."""
        try:
            answer = json.loads(self._call(function, *arguments, **options))
        except (ValueError, RecursionError):
            raise KubernetesError(f"{function.__name__}: the API server's answer is not JSON") from None
        return answer if isinstance(answer, dict) else {}

    def _call(self, function: Callable[..., Any], *arguments: object, **options: object) -> bytes:
        from urllib3.exceptions import HTTPError

        try:
            answer = function(*arguments, **options, _preload_content=False, _request_timeout=_TIMEOUTS_S)
            status, body = int(answer.status), bytes(answer.data)
        except self._client.ApiException as error:
            status, body = int(error.status or 0), str(error.body or "").encode()
        except (HTTPError, OSError) as error:
            raise Unreachable(f"the API server can't be reached: {type(error).__name__}") from None
        except (TypeError, ValueError, AttributeError) as error:  # the client refuses what it gets
            raise KubernetesError(f"{function.__name__}: {type(error).__name__}") from None
        if 200 <= status < 300:
            return body
        kind = _KINDS.get(status, Busy if status >= 500 else KubernetesError)
        raise kind(f"{function.__name__}: the API server answered {status}: {_message(body)}")


def _message(body: bytes) -> str:
    """Of a Status object, on one line."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return "no Status object"
    message = found.get("message") if isinstance(found, dict) else None
    return " ".join(str(message)[:200].split())


def _pod(item: Mapping[str, Any]) -> Pod:
    metadata = item["metadata"]
    uid = (metadata.get("annotations") or {}).get(_MIRROR, metadata["uid"])
    return Pod(str(metadata["namespace"]), str(metadata["name"]), str(uid))


def _waits(item: Mapping[str, Any], gate: str) -> bool:
    gates = (item.get("spec") or {}).get("readinessGates") or []
    conditions = (item.get("status") or {}).get("conditions") or []
    return any(one.get("conditionType") == gate for one in gates) and not any(
        one.get("type") == gate and one.get("status") == "True" for one in conditions
    )
