"""A stand-in for a Kubernetes API server: it is outside of our process, and none can be had for a unit test.

It speaks the few endpoints that the agent uses, checks what a real one would (paths, content types, uid
preconditions), and keeps pods, nodes and events as it was reported.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


class ApiServer(ThreadingHTTPServer):
    """`pods`, `secrets` by (namespace, name); `fails`: the status that every answer has, or 0; `fails_for`: what is in
    the paths whose answer is 503; `forbids`: the request whose answer is 403; `requests`: those that were answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.pods: dict[tuple[str, str], dict[str, Any]] = {}
        self.nodes: dict[str, dict[str, Any]] = {"node-1": {"metadata": {"name": "node-1", "labels": {}}}}
        self.namespaces = {"models": "uid-of-models"}
        self.events: list[dict[str, Any]] = []
        self.secrets: dict[tuple[str, str], dict[str, bytes]] = {}
        self.requests: list[str] = []
        self.fails = 0
        self.fails_for = ""
        self.forbids = ""

    def pod(
        self, name: str, namespace: str = "models", *, gate: str = "", uid: str = "uid-1"
    ) -> dict[str, Any]:
        """A running pod, made."""
        made: dict[str, Any] = {
            "metadata": {"name": name, "namespace": namespace, "uid": uid, "annotations": {"their": "own"}},
            "spec": {"nodeName": "node-1", "readinessGates": [{"conditionType": gate}] if gate else None},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]},
        }
        self.pods[namespace, name] = made
        return made

    def kubeconfig(self, file: str) -> str:
        """Written there; the way to this server, with a token that must not come out anywhere."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "agent"}}],
            "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{self.server_port}"}}],
            "users": [{"name": "agent", "user": {"token": "the-agent-s-own-token"}}],
        }
        with open(file, "w") as opened:
            json.dump(content, opened)  # JSON is YAML
        return file


@contextmanager
def serving() -> Iterator[ApiServer]:
    """A server that answers."""
    with ApiServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one packet

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def _answer(self) -> None:
        assert isinstance(self.server, ApiServer)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        where = urlsplit(self.path)
        fails = 503 if self.server.fails_for and self.server.fails_for in where.path else self.server.fails
        fails = 403 if self.server.forbids == f"{self.command} {where.path}" else fails
        content_type = self.headers.get("Content-Type") or ""
        query, plain = parse_qs(where.query), json.loads(body or b"{}")
        status, said = (
            (fails, {"kind": "Status", "message": "as reported"})
            if fails
            else respond(self.server, self.command, where.path, query, content_type, plain)
        )
        self.server.requests.append(f"{self.command} {where.path}")
        self._say(status, said)

    def _say(self, status: int, said: object) -> None:
        text = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, _format: str, *_arguments: object) -> None:
        """Tests look at `requests`."""


def respond(
    server: ApiServer,
    method: str,
    path: str,
    query: dict[str, list[str]],
    content_type: str,
    body: dict[str, Any],
) -> tuple[int, object]:
    """Status and body."""
    match (method, *path.strip("/").split("/")):
        case ("POST", "api", "v1", "namespaces", namespace, "events"):
            return _create_event(server, namespace, body)
        case ("PATCH", "api", "v1", "namespaces", namespace, "pods", name, *rest) if rest in ([], ["status"]):
            pod = server.pods.get((namespace, name))
            return _patch_pod(pod, content_type, body, is_status=bool(rest)) if pod else _status(404)
        case ("GET", "api", "v1", "pods"):
            assert query["fieldSelector"][0].startswith("spec.nodeName=node-1")
            assert query["resourceVersion"] == ["0"]  # no quorum read of all pods of the cluster
            return 200, {"kind": "PodList", "items": list(server.pods.values())}
        case ("GET", "api", "v1", "namespaces"):
            assert query["resourceVersion"] == ["0"]
            names = [{"metadata": {"name": name, "uid": uid}} for name, uid in server.namespaces.items()]
            return 200, {"kind": "NamespaceList", "items": names}
        case ("GET", "api", "v1", "nodes", name):
            return (200, server.nodes[name]) if name in server.nodes else _status(404)
        case ("GET", "api", "v1", "namespaces", namespace, "secrets", name):
            data = server.secrets.get((namespace, name))
            if data is None:
                return _status(404)
            encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
            return 200, {"kind": "Secret", "data": encoded}
        case ("PATCH", "api", "v1", "nodes", name):
            assert content_type == MERGE
            _merge(server.nodes[name]["metadata"], body["metadata"])
            return 200, server.nodes[name]
    return _status(404)


def _create_event(server: ApiServer, namespace: str, body: dict[str, Any]) -> tuple[int, object]:
    if (
        body["metadata"]["namespace"] != namespace
        or body["involvedObject"].get("namespace", "default") != namespace
    ):
        return _status(400)
    assert body["metadata"]["generateName"] and body["type"] in ("Normal", "Warning")
    server.events.append(body)
    return 201, body


def _patch_pod(
    pod: dict[str, Any], content_type: str, body: dict[str, Any], *, is_status: bool
) -> tuple[int, object]:
    if body["metadata"].get("uid", pod["metadata"]["uid"]) != pod["metadata"]["uid"]:
        return _status(409)
    if not is_status:
        assert content_type == MERGE and set(body) == {"metadata"}
        _merge(pod["metadata"], body["metadata"])
        return 200, pod
    assert content_type == STRATEGIC
    conditions = pod["status"]["conditions"]
    for condition in body["status"]["conditions"]:  # merged by type
        conditions[:] = [one for one in conditions if one["type"] != condition["type"]] + [condition]
    return 200, pod


def _merge(into: dict[str, Any], patch: dict[str, Any]) -> None:
    """RFC 7386."""
    for name, value in patch.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, dict):
            _merge(into.setdefault(name, {}), value)
        else:
            into[name] = value


def _status(code: int) -> tuple[int, object]:
    return code, {"kind": "Status", "code": code, "message": f"no, {code}"}
