"""glowplug push, warm, and registry ls, rm and gc with a real registry, keys and login from Kubernetes Secrets."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests import api_server, checkpoint_made

from glowplug.checkpoint import requirements
from glowplug.criu import program
from glowplug.host import facts
from glowplug.jsontext import dumps
from glowplug.registry import names, opened
from integration import certificates
from integration.bare import CRIU
from integration.checkpoints_travel.nodes import NAMESPACE, Node, memory
from integration.node import GLOWPLUG
from integration.shared_keys import toml_keys

RUNTIME_CONFIG = os.path.join(os.path.dirname(GLOWPLUG), "../../runtime_config")


@pytest.fixture
def kubernetes(a: Node, b: Node, tmp_path: Path) -> Iterator[str]:
    """A kubeconfig; both nodes name Secrets where they had files."""
    with api_server.serving() as server:
        files = {
            "login": a.settings.credentials,
            "identity.key": a.settings.identities["*"][0],
            "sign.pub": a.settings.trust["*"][0],
        }
        found = {}
        for name, path in files.items():
            with open(path, "rb") as file:
                found[name] = file.read()
        server.secrets[NAMESPACE, "glowplug-registry"] = found
        for node in (a, b):
            node.settings = replace(
                node.settings,
                credentials="secret:{namespace}/glowplug-registry/login",
                identities={"*": ("secret:{namespace}/glowplug-registry/identity.key",)},
                trust={"*": (f"secret:{NAMESPACE}/glowplug-registry/sign.pub",)},
            )
        yield server.kubeconfig(str(tmp_path / "kubeconfig"))


def run(node: Node, *typed: str, kubernetes: str = "off", status: int = 0) -> str:
    """What a command says on the node."""
    config = f"{node.store.root}.toml"
    keys = {
        "cache": node.store.root,
        "min_free_bytes": 0,
        "kubernetes": kubernetes,
        "criu": CRIU,
        **toml_keys(node.settings),
    }
    with open(config, "w") as file:
        file.writelines(f"{key} = {dumps(value)}\n" for key, value in keys.items())
    done = subprocess.run(
        [GLOWPLUG, *typed[:1], *typed[1:], "--config", config], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def shipped(path: str) -> list[str]:
    """The arguments of the one container of runtime_config that runs `glowplug`."""
    with open(f"{RUNTIME_CONFIG}/{path}") as file:
        pod = yaml.safe_load(file)["spec"]["template"]["spec"]
    (args,) = (one["args"] for one in (*pod.get("initContainers", ()), *pod["containers"]) if "args" in one)
    return [str(one) for one in args]


def made_here(node: Node, **fields: object) -> str:
    """A checkpoint that this machine could restore, as far as a node without a pod can report."""
    resources = replace(checkpoint_made.RESOURCES, gpus=(), cuda_libraries=())
    needs = requirements.require(facts.read(_criu()), resources)
    return node.made(memory(1), requirements=needs, **fields)


def _criu() -> str:
    return ".".join(str(number) for number in program.version(CRIU))


def test_nodes_are_warmed_by_label_with_keys_of_the_namespace_s_secret(
    a: Node, b: Node, kubernetes: str
) -> None:
    llama, other = (
        made_here(a),
        made_here(
            a, created="2026-03-02T12:00:00Z", captured=checkpoint_made.key_of(chain_id="sha256:" + "e" * 64)
        ),
    )
    said = run(a, "push", "--label", "app=llama", llama, kubernetes=kubernetes)
    assert f"pushed {llama}" in said
    run(a, "push", "--label", "app=other", other, kubernetes=kubernetes)
    warm = ("warm", "-n", NAMESPACE, "--label", "app=llama")
    assert "names a Kubernetes Secret, and no API server" in run(b, *warm, status=2)
    assert "would be pulled" in run(b, *warm, "--dry-run", kubernetes=kubernetes)
    assert b.store.ids() == []
    rows = json.loads(run(b, *warm, "--json", kubernetes=kubernetes))
    assert [(row["checkpoint"], row["result"]) for row in rows] == [(llama, "pulled")]
    assert b.store.ids() == [llama]
    secrets = [name for name in os.listdir(b.store.root) if "secret" in name]
    assert secrets == []


def test_the_manifests_that_are_shipped_warm_a_node_and_end_a_namespace(a: Node, b: Node) -> None:
    """Their arguments, as a node gets them from the installer's image."""
    llama = made_here(a)
    run(a, "push", "--label", "app=llama", llama)
    assert f"{llama}: pulled" in run(b, *shipped("kustomize/registry/warm.yaml"))
    assert b.store.verify(llama) == []
    assert f"{llama}: was there" in run(b, *shipped("kustomize/registry/warm.yaml"))
    assert "the namespace has ended" in run(b, *shipped("kustomize/namespace-ended/job.yaml"))
    assert json.loads(run(a, "registry", "ls", "-n", NAMESPACE, "--json")) == []


def test_one_that_is_encrypted_for_others_keeps_no_node_from_being_warmed(
    a: Node, b: Node, tmp_path: Path
) -> None:
    keys = (checkpoint_made.key_of(chain_id=f"sha256:{number:064x}") for number in range(2))
    made = {made_here(a, captured=key): key.digest for key in keys}
    theirs, ours = sorted(made, key=lambda checkpoint: made[checkpoint])  # in the order of their tags
    run(a, "push", ours)
    _, other = certificates.recipient_pair(str(tmp_path), "other")
    a.settings = replace(a.settings, recipients={"*": (other,)})
    run(a, "push", theirs)
    said = run(b, "warm", "-n", NAMESPACE, status=1)
    assert f"checkpoint {theirs} is encrypted for none of this node's keys" in said
    assert f"{ours}: pulled" in said
    assert b.store.ids() == [ours]


def test_what_is_removed_leaves_neither_signatures_nor_referrers(a: Node) -> None:
    """Debian's docker-registry has no referrers API: the tag that stands for it goes, too."""
    first, second, third = (
        a.push(a.made(memory(1), created=f"2026-03-0{day}T12:00:00Z")) for day in range(1, 4)
    )
    place = (a.settings.path(NAMESPACE), "-n", NAMESPACE)
    with opened.repository(a.settings, NAMESPACE) as repository:
        referrers = repository.referrers(first.digest)
        assert [one["artifactType"] for one in referrers] == [names.PROVENANCE_TYPE]
        assert repository.manifest(names.referrers_tag(first.digest)) is not None
    assert len(json.loads(run(a, "registry", "ls", "-n", NAMESPACE, "--json"))) == 3
    assert f"removed {place[0]}" in run(a, "registry", "rm", "-n", NAMESPACE, first.checkpoint)
    with opened.repository(a.settings, NAMESPACE) as repository:
        tags = list(repository.tags())
        for tag in (names.signature_tag(first.digest), names.referrers_tag(first.digest), first.tags[0]):
            assert repository.manifest(tag) is None, tags
        assert repository.manifest(str(referrers[0]["digest"])) is None
        assert repository.manifest(first.digest) is None
    assert f"would remove {second.checkpoint}" in run(
        a, "registry", "gc", "-n", NAMESPACE, "--keep", "1", "--dry-run"
    )
    assert f"removed {second.checkpoint}" in run(a, "registry", "gc", "-n", NAMESPACE, "--keep", "1")
    (left,) = json.loads(run(a, "registry", "ls", "-n", NAMESPACE, "--json"))
    assert left["checkpoint"] == third.checkpoint and left["is_newest"]
    assert "the namespace has ended" in run(a, "registry", "gc", "-n", NAMESPACE, "--all")
    assert json.loads(run(a, "registry", "ls", "-n", NAMESPACE, "--json")) == []
    with opened.repository(a.settings, NAMESPACE) as repository:
        assert [tag for tag in repository.tags() if repository.manifest(tag) is not None] == []
