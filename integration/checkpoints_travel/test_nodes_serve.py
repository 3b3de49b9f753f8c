"""Nodes serve what they have: to nodes of their fleet, what policy lets leave, and never believed for it."""

import http.client
import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from glowplug.errors import HostError, RegistryError, RegistryMiss
from glowplug.registry import kept, names, oci, opened, peer_server
from glowplug.registry.catalog import Catalog
from glowplug.registry.peer_server import PeerServer
from integration.certificates import Authority
from integration.checkpoints_travel.nodes import NAMESPACE, Node, memory
from integration.checkpoints_travel.serving import Nodes, serving
from integration.registry_faults import Proxy
from integration.waiting import wait_until


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    return Nodes(tmp_path / "nodes")


@pytest.fixture
def c(tmp_path: Path, a: Node) -> Node:
    return Node(tmp_path / "c", a.settings)


@contextmanager
def in_process(node: Node, catalog: Catalog | None = None) -> Iterator[PeerServer]:
    """The server alone, in a thread."""
    server = PeerServer(node.settings, catalog or Catalog(node.store, node.settings))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def connected(asking: Node, serving_node: Node) -> http.client.HTTPSConnection:
    """A connection of a node of the fleet."""
    context = ssl.create_default_context(cafile=asking.settings.peer_ca)
    context.load_cert_chain(asking.settings.certificate, asking.settings.key)
    return http.client.HTTPSConnection(serving_node.settings.serve, context=context, timeout=60)


def answered(
    connection: http.client.HTTPSConnection, method: str, path: str, **headers: str
) -> tuple[int, bytes]:
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def packs_of(node: Node, digest: str) -> list[oci.Descriptor]:
    with opened.repository(node.settings, NAMESPACE) as repository:
        data = repository.manifest(digest)
    assert data is not None
    return list(oci.loads(data).packs)


def test_a_node_serves_what_it_pushed_when_the_registry_is_gone(
    a: Node, b: Node, c: Node, through: Proxy, nodes: Nodes
) -> None:
    """The registry goes away after the manifest. A has no key that opens its own artifact. B then serves C, by tag."""
    a.settings = replace(a.settings, identities={})
    nodes.asks(b, nodes.serves(a))
    checkpoint = a.made({**memory(), "images/small.img": b"small", "memory/zeros.extent": bytes(1 << 20)})
    pushed = a.push(checkpoint)
    through.reset(lambda number, method, path: "cut" if number else None)
    with serving(a):
        url = nodes.serves(b)
        nodes.asks(c, url)
        assert b.pull(pushed.tags[1]).checkpoint == checkpoint
    assert b.store.verify(checkpoint) == []
    c.settings = replace(c.settings, repository=b.settings.repository)
    through.reset(lambda number, method, path: "cut")
    with serving(b):
        assert c.pull(pushed.tags[1]).checkpoint == checkpoint
    assert c.store.verify(checkpoint) == []


def test_packs_come_from_nodes_and_not_from_a_registry_that_works(
    a: Node, b: Node, through: Proxy, nodes: Nodes
) -> None:
    nodes.asks(b, "https://127.0.0.1:1", nodes.serves(a), "https://no-such-host.invalid")
    pushed = a.push(a.made(memory()))
    packs = {pack.digest for pack in packs_of(a, pushed.digest)}
    through.reset()
    with serving(a):
        assert b.pull(pushed.tags[1]).checkpoint == pushed.checkpoint
    assert not [path for _, path in through.seen if path.rpartition("/")[2] in packs]
    assert any(path.endswith(pushed.tags[1]) for _, path in through.seen)  # tags are the registry's


def test_it_answers_to_get_and_head_and_nothing_else(a: Node, b: Node, nodes: Nodes) -> None:
    nodes.asks(b, nodes.serves(a))
    pushed = a.push(a.made(memory()))
    pack = packs_of(a, pushed.digest)[0]
    place = f"/v2/{a.settings.path(NAMESPACE)}"
    with in_process(a):
        connection = connected(b, a)
        assert answered(connection, "GET", "/v2/") == (200, b"{}")
        status, everything = answered(connection, "GET", f"{place}/blobs/{pack.digest}")
        assert status == 200 and names.digest(everything) == pack.digest
        part = answered(connection, "GET", f"{place}/blobs/{pack.digest}", Range="bytes=100-199")
        assert part == (206, everything[100:200])
        for wrong in ("bytes=9-1", f"bytes={len(everything)}-", "bytes=-5", "lines=1-2"):
            assert answered(connection, "GET", f"{place}/blobs/{pack.digest}", Range=wrong) == (416, b"")
        assert answered(connection, "HEAD", f"{place}/manifests/{pushed.tags[2]}") == (200, b"")
        for method in ("PUT", "POST", "PATCH", "DELETE"):
            assert answered(connected(b, a), method, f"{place}/manifests/x")[0] == 501
        for path in ("/", "/v2/../etc/passwd", f"{place}/tags/list", f"{place}/blobs/../../manifest.json"):
            assert answered(connection, "GET", path)[0] == 404
        other = a.settings.path("other")
        assert answered(connection, "GET", f"/v2/{other}/manifests/{pushed.digest}")[0] == 404
        assert answered(connection, "GET", f"/v2/{other}/blobs/{pack.digest}")[0] == 404


def test_who_has_no_certificate_of_the_fleet_hears_nothing(
    a: Node, b: Node, nodes: Nodes, tmp_path: Path
) -> None:
    nodes.asks(b, nodes.serves(a))
    pushed = a.push(a.made(memory()))
    path = f"/v2/{a.settings.path(NAMESPACE)}/manifests/{pushed.digest}"
    (tmp_path / "outsiders").mkdir()
    certificate, key = Authority(str(tmp_path / "outsiders"), "outsiders").issue("outsider")
    outsider = Node(tmp_path / "outsider", replace(b.settings, certificate=certificate, key=key))
    with in_process(a):
        assert answered(connected(b, a), "GET", path)[0] == 200
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            answered(connected(outsider, a), "GET", path)
        nobody = http.client.HTTPSConnection(
            a.settings.serve, context=ssl.create_default_context(cafile=b.settings.peer_ca), timeout=20
        )
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            answered(nobody, "GET", path)


def test_only_what_may_leave_is_served(a: Node, b: Node, nodes: Nodes) -> None:
    """By the node's policy, the pod's, and only while it is intact and there."""
    nodes.asks(b, nodes.serves(a))
    pushed = a.push(a.made(memory()))
    path = f"/v2/{a.settings.path(NAMESPACE)}/manifests/{pushed.digest}"

    def status(catalog: Catalog) -> int:
        with in_process(a, catalog):
            return answered(connected(b, a), "GET", path)[0]

    assert status(Catalog(a.store, a.settings)) == 200
    assert status(Catalog(a.store, replace(a.settings, policy="pull"))) == 404
    a.store.quarantine(pushed.checkpoint, "test", [])
    assert status(Catalog(a.store, a.settings)) == 404
    a.store.clear_quarantine(pushed.checkpoint)
    assert status(Catalog(a.store, a.settings)) == 200
    a.store.remove(pushed.checkpoint)
    assert status(Catalog(a.store, a.settings)) == 404
    assert kept.checkpoints(a.store.root) == []


def test_a_node_that_does_not_serve_keeps_nothing(a: Node, b: Node) -> None:
    b.pull(a.push(a.made(memory())).tags[1])
    assert kept.checkpoints(a.store.root) == kept.checkpoints(b.store.root) == []


class _Lies(Catalog):
    """A node that gives other bytes than were requested."""

    def blob(self, path: str, digest: str) -> bytes | bytearray | None:
        found = super().blob(path, digest)
        return found and bytes([found[0] ^ 1]) + bytes(found[1:])


def test_a_node_that_lies_costs_time_and_nothing_else(a: Node, b: Node, through: Proxy, nodes: Nodes) -> None:
    nodes.asks(b, nodes.serves(a))
    pushed = a.push(a.made(memory()))
    with in_process(a, _Lies(a.store, a.settings)):
        through.reset(lambda number, method, path: "cut" if number > 3 else None)
        with pytest.raises(RegistryError):
            b.pull(pushed.tags[1])
        assert b.store.ids() == []
        through.reset()
        assert b.pull(pushed.tags[1]).checkpoint == pushed.checkpoint
    assert b.store.verify(pushed.checkpoint) == []


def test_a_node_can_t_bring_in_what_nobody_signed(a: Node, b: Node, through: Proxy, nodes: Nodes) -> None:
    """The registry is gone, and the only node that answers has another signature than the trusted one's."""
    nodes.asks(b, nodes.serves(a))
    pushed = a.push(a.made(memory()))
    found = kept.load(a.store.root, pushed.checkpoint)
    assert found is not None
    with open(f"{found.directory}/signatures", "r+b") as file:
        changed = file.read().replace(b'signature":"M', b'signature":"N')
        file.seek(0)
        file.write(changed)
    through.reset(lambda number, method, path: "cut")
    with in_process(a), pytest.raises(RegistryMiss) as miss:
        b.pull(pushed.tags[1])
    assert miss.value.slug == "wrong-signature" and b.is_untouched()


def test_a_pack_that_it_has_in_part_comes_from_the_registry(
    a: Node, b: Node, through: Proxy, nodes: Nodes
) -> None:
    """The second checkpoint uses packs of the first, which is gone from the node."""
    nodes.asks(b, nodes.serves(a))
    shared = memory()
    first = a.push(a.made(shared))
    changed = {**shared, "memory/pages-0.extent": os.urandom(700 << 10)}
    second = a.push(a.made(changed, created="2026-03-02T12:00:00Z"))
    shared_packs = {pack.digest for pack in packs_of(a, first.digest)} & {
        pack.digest for pack in packs_of(a, second.digest)
    }
    assert shared_packs
    a.store.remove(first.checkpoint)
    through.reset()
    with in_process(a):
        assert b.pull(second.tags[1]).checkpoint == second.checkpoint
    requested = {path.rpartition("/")[2] for _, path in through.seen}
    new_packs = {pack.digest for pack in packs_of(a, second.digest)} - shared_packs
    assert not requested & new_packs


def test_connections_are_bounded_and_returned(
    a: Node, b: Node, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_server, "CONNECTIONS_OF_ONE", 2)
    nodes.asks(b, nodes.serves(a))
    with in_process(a):
        open_ones = [connected(b, a) for _ in range(2)]
        for one in open_ones:
            assert answered(one, "GET", "/v2/")[0] == 200
        with pytest.raises((OSError, http.client.HTTPException)):
            answered(connected(b, a), "GET", "/v2/")
        for one in open_ones:
            one.close()
        assert _answers_again(a, b)


def _answers_again(a: Node, b: Node) -> bool:
    def answers() -> bool:
        try:
            return answered(connected(b, a), "GET", "/v2/")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    return wait_until(answers, 20, "a place for another connection")


def test_who_is_slow_is_hung_up_on(a: Node, b: Node, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_server, "CONNECTION_S", 3.0)  # with the handshake
    nodes.asks(b, nodes.serves(a))
    with in_process(a):
        connection = connected(b, a)
        connection.connect()
        assert connection.sock.recv(1) == b""


def test_bandwidth_is_shared_by_all() -> None:
    slept: list[float] = []
    pace = peer_server.Pace(1000, clock=lambda: 100.0, sleep=slept.append)
    for _ in range(3):
        pace.wait(500)
    assert slept == [0.0, 0.5, 1.0]


def test_the_process_ends_with_its_agent(a: Node, nodes: Nodes) -> None:
    nodes.serves(a)
    with serving(a) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


def test_a_port_that_is_taken_is_said_in_one_line(a: Node, nodes: Nodes) -> None:
    nodes.serves(a)
    with (
        in_process(a),
        pytest.raises(
            HostError, match=r"^registry.serve: can't listen on 127.0.0.1:\d+: Address already in use$"
        ),
    ):
        PeerServer(a.settings, Catalog(a.store, a.settings))
