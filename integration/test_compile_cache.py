"""A cold start of a workload that was seen before finds what it compiled then; no other workload does."""

import json
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

from glowplug.cache import pack
from integration.captured import outcome, records
from integration.cri_specs import Mount
from integration.images import PYTHON
from integration.node import GLOWPLUG, Node
from integration.pods import Container, Pods, generated_name
from integration.test_automatic import annotated, capture_of
from integration.waiting import wait_until

COMPILER = (f"/{PYTHON}", "-m", "integration.workload.compiler")
ALL = 4
"""Kernels of the workload."""
COLD = {"ready": "http://:8000/health", "compile_cache": "node", "capture": "never"}


def started(
    pods: Pods,
    environment: dict[str, str],
    namespace: str = "default",
    mounts: tuple[Mount, ...] = (),
    **said: str,
) -> Container:
    pod = pods.run(
        name=generated_name("cache"), namespace=namespace, annotations=annotated(**{**COLD, **said})
    )
    container = pod.container(env=environment, command=COMPILER, mounts=mounts)
    container.start()
    container.serves()
    return container


def compiled(container: Container) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(container.get("/compiled"))
    return found


def kept_of(node: Node, container: Container) -> dict[str, Any]:
    """What is on record of its caches being kept, once it is."""

    def found() -> list[dict[str, Any]]:
        return [one for one in records(node, container.id) if one.get("event") == "compile-cache"]

    return wait_until(found, 20, "word of its compile caches")[0]


def compile_cache_of(node: Node, container: Container) -> dict[str, Any] | None:
    """What the outcome of its start says of the caches that it found."""
    (start,) = [one for one in records(node, container.id) if "outcome" in one]
    return start.get("compile_cache")


def test_a_second_cold_start_compiles_nothing(agent: Node, pods: Pods) -> None:
    environment = {"CASE": secrets.token_hex(4)}
    first = started(pods, environment)
    assert len(compiled(first)["compiled"]) == ALL
    assert compile_cache_of(agent, first) is None
    kept = kept_of(agent, first)
    assert (kept["result"], kept["files"], kept["left_out"]) == ("kept", ALL, 0), kept

    second = started(pods, environment)
    assert compiled(second)["compiled"] == []
    assert (compile_cache_of(agent, second) or {})["files"] == ALL
    kernel = compiled(second)["found"][0]
    status = second.exec("stat", "-c", "%a %u %g", kernel).stdout.split()
    assert status == [b"754", b"0", b"0"]
    said = explained(agent, second)
    assert f"found {ALL} files" in said

    # What the container does to its files, it does to its own.
    second.exec("sh", "-c", f"echo poisoned >{kernel}")
    assert len(compiled(started(pods, environment))["found"]) == ALL


def test_weights_that_are_still_being_read_at_the_start_keep_nothing_back(
    agent: Node, pods: Pods, tmp_path: Path
) -> None:
    """They are part of the key: without them nobody knows whose the caches are."""
    (tmp_path / "model.safetensors").write_bytes(secrets.token_bytes(1000))
    mount = Mount(container_path="/models", host_path=str(tmp_path), readonly=True)
    environment = {"CASE": secrets.token_hex(4)}
    first = started(pods, environment, weights="reload", mounts=(mount,))
    assert kept_of(agent, first)["result"] == "kept"
    second = started(pods, environment, weights="reload", mounts=(mount,))
    assert compiled(second)["compiled"] == []


def test_a_pod_that_turned_restores_off_is_warm_all_the_same(agent: Node, pods: Pods) -> None:
    environment = {"CASE": secrets.token_hex(4)}
    said: dict[str, Any] = {"restore": "off", "capture": "ready"}
    kept_of(agent, started(pods, environment, **said))
    second = started(pods, environment, **said)
    assert outcome(agent, second) == "cold:off"
    assert compiled(second)["compiled"] == []


def explained(node: Node, container: Container) -> str:
    command = [GLOWPLUG, "explain", "--config", node.names.config, container.pod.spec.name]
    return subprocess.run(
        command, env=node.env, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_other_namespaces_other_workloads_and_others_get_nothing(agent: Node, pods: Pods) -> None:
    environment = {"CASE": secrets.token_hex(4)}
    kept_of(agent, started(pods, environment))
    others = (
        started(pods, environment, namespace="other"),
        started(pods, {**environment, "MODEL": "another"}),
        started(pods, environment, compile_cache=""),
    )
    for other in others:
        assert len(compiled(other)["compiled"]) == ALL
        assert compile_cache_of(agent, other) is None


def test_a_capture_keeps_them_and_a_copy_has_them_in_its_own_layer(agent: Node, pods: Pods) -> None:
    """Also a capture of a container that found them itself."""
    environment = {"CASE": secrets.token_hex(4), "CACHE": "/srv/kernels", "SLOW_S": "2"}
    said: dict[str, Any] = {"compile_cache": "node: /srv/kernels", "capture": "ready"}
    first = started(pods, environment, **said)
    checkpoint = capture_of(agent, first.pod)["checkpoint"]
    assert kept_of(agent, first)["files"] == ALL + 1
    remove(agent, checkpoint)

    second = started(pods, environment, **said)
    assert outcome(agent, second) == "cold:no-checkpoint"
    assert compiled(second)["compiled"] == []
    assert capture_of(agent, second.pod)["result"] == "captured"
    third = started(pods, environment, **said)
    assert outcome(agent, third) == "restored"
    assert compiled(third) == compiled(second)
    assert (
        third.exec("sh", "-c", "cat /srv/kernels/own").stdout == second.exec("cat", "/srv/kernels/own").stdout
    )


def test_a_start_whose_restore_fails_is_warm_all_the_same(agent: Node, pods: Pods) -> None:
    environment = {"CASE": secrets.token_hex(4), "SLOW_S": "2"}
    first = started(pods, environment, capture="ready")
    checkpoint = capture_of(agent, first.pod)["checkpoint"]
    (image,) = Path(f"{agent.names.cache}/checkpoints/{checkpoint}/images").glob("core-1.img")
    content = bytearray(image.read_bytes())
    content[-1] ^= 0xFF
    image.write_bytes(content)
    second = started(pods, environment, capture="ready")
    assert outcome(agent, second) == "fallback:check"
    assert (compile_cache_of(agent, second) or {})["files"] == ALL
    assert compiled(second)["compiled"] == []


def remove(node: Node, checkpoint: str) -> None:
    command = [GLOWPLUG, "rm", "--config", node.names.config, checkpoint]
    subprocess.run(command, env=node.env, capture_output=True, check=True, timeout=60)


def test_what_is_no_complete_file_is_left_out(agent: Node, pods: Pods) -> None:
    environment = {"CASE": secrets.token_hex(4), "MESS": "1"}
    kept = kept_of(agent, started(pods, environment))
    assert (kept["files"], kept["left_out"]) == (ALL + 1, 5), kept
    second = started(pods, environment)
    assert (compile_cache_of(agent, second) or {})["files"] == ALL + 1
    kinds = second.exec("stat", "-c", "%n %a %F", "/root/.cache/vllm/setuid").stdout
    assert b" 755 regular" in kinds


def test_one_that_is_damaged_is_removed_and_the_start_continues(agent: Node, pods: Pods) -> None:
    environment = {"CASE": secrets.token_hex(4)}
    before = set(os.listdir(f"{agent.names.cache}/compile"))
    kept_of(agent, started(pods, environment))
    (name,) = set(os.listdir(f"{agent.names.cache}/compile")) - before
    path = f"{agent.names.cache}/compile/{name}"
    descriptor = pack.open_pack(path)
    first = pack.read_index(descriptor).files[0]
    os.close(descriptor)
    with open(path, "r+b") as file:
        file.seek(first.offset)
        file.write(b"poisoned")
    second = started(pods, environment)
    assert first.path in [one[1:] for one in compiled(second)["compiled"]]
    assert "damaged" in (compile_cache_of(agent, second) or {})["detail"]
    assert kept_of(agent, second)["result"] == "kept"
