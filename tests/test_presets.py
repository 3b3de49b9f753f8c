"""Presets of the node's configuration: read, reported what is wrong in a line each, counted in the key."""

import tomllib
from dataclasses import asdict
from typing import Any

import pytest
from tests.checkpoint_made import spec

from glowplug import config, presets
from glowplug.capture import policy
from glowplug.capture.policy import BadAnnotation, Hook, Ready
from glowplug.checkpoint import bundle
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.config import Config
from glowplug.engines import Step

GOOD = """
[presets.tgi]
port = 8080
ready = "/health"
[presets.tgi.keep]
sleep = [
    { method = "POST", path = "/sleep", body = '{"level": 1}' },
    { method = "GET", path = "/s", expected = { asleep = true } },
]
wake = [
    { method = "GET", path = "/info", keep = ["model"] },
    { method = "POST", path = "/wake", body = '{"path": "$model"}' },
]
"""


def table(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def pod(**said: str) -> BundleFacts:
    found = bundle.read(spec())
    found.annotations = {f"glowplug.dev/{name}": text for name, text in said.items()}
    return found


def test_a_pod_may_name_one_as_those_that_are_built_in() -> None:
    settings = Config(**table(GOOD))
    found = policy.of(pod(engine="tgi"), "ready", presets.known(settings.presets))
    assert found.ready == Ready("http", port=8080, path="/health")
    sleep = (Step("POST", "/sleep", '{"level": 1}'), Step("GET", "/s", expected={"asleep": True}))
    assert found.before_capture == Hook("engine", port=8080, steps=sleep)
    wake = (Step("GET", "/info", keep=("model",)), Step("POST", "/wake", '{"path": "$model"}'))
    assert found.after_restore == found.after_capture == Hook("engine", port=8080, steps=wake)
    vllm = policy.of(pod(engine="vllm"), "ready", presets.known(settings.presets))
    assert vllm == policy.of(pod(engine="vllm"), "ready")


def test_the_weights_way_that_it_has_not_is_reported() -> None:
    known = presets.known(table(GOOD)["presets"])
    with pytest.raises(
        BadAnnotation, match=r"glowplug\.dev/weights: the preset of its engine has keep alone"
    ):
        policy.of(pod(engine="tgi", weights="reload"), "ready", known)
    with pytest.raises(
        BadAnnotation, match=r"glowplug\.dev/engine: expected vllm or sglang or tgi, and :PORT"
    ):
        policy.of(pod(engine="other"), "ready", known)


def test_it_travels_to_the_process_that_captures() -> None:
    settings = Config(**table(GOOD))
    assert Config(**asdict(settings)) == settings


def test_what_it_says_counts_in_the_key_of_the_pods_that_name_it() -> None:
    one = table(GOOD)["presets"]
    other = table(GOOD.replace("/wake", "/resume"))["presets"]
    assert presets.extras(one, pod(engine="tgi")) != presets.extras(other, pod(engine="tgi")) != {}
    assert presets.extras(one, pod(engine="tgi:9000")) == presets.extras(one, pod(engine="tgi"))
    assert presets.extras(one, pod(engine="vllm")) == presets.extras(one, pod()) == {}
    chosen = pod(engine="vllm")
    chosen.container_name = "main"
    chosen.annotations["glowplug.dev/engine.main"] = "tgi"
    assert presets.extras(one, chosen) == presets.extras(one, pod(engine="tgi"))


KEEP = "[presets.x]\nport = 1\nready = '/h'\n[presets.x.keep]\n"
STEP = "{ method = 'POST', path = '/s' }"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("presets = 1", "presets: expected a table of presets, got 1"),
        ("presets.x = 1", "presets.x: expected a table, got 1"),
        ("[presets.X]", "presets.X: a preset's name has lower-case letters, digits and hyphens, 40 at most"),
        ("[presets.x]\nport = 0\nready = '/h'", "presets.x.port: expected a port from 1 to 65535, got 0"),
        ("[presets.x]\nport = true\nready = '/h'", "presets.x.port: expected a port from 1 to 65535, got True"),
        ("[presets.x]\nready = '/h'", "presets.x.port: expected a port from 1 to 65535, got nothing"),
        ("[presets.x]\nport = 1", "presets.x.ready: expected the path that answers"),
        ("[presets.x]\nport = 1\nready = 'h'", "presets.x.ready: expected the path that answers"),
        ("[presets.x]\nport = 1\nready = '/h'", "presets.x: it has neither of the tables keep and reload"),
        ("[presets.x]\nport = 1\nready = '/h'\nzzz = 1", "presets.x.zzz: no such key; there are: port, ready"),
        ("[presets.x]\nport = 1\nready = '/h'\nkeep = 1", "presets.x.keep: expected a table with sleep"),
        (f"{KEEP}sleep = [{STEP}]", "presets.x.keep.wake: expected a list of 1 to 32 requests, got nothing"),
        (f"{KEEP}wake = [{STEP}]\nsleep = []", "presets.x.keep.sleep: expected a list of 1 to 32 requests, got []"),
        (f"{KEEP}wake = [{STEP}]\nsleep = [1]", "presets.x.keep.sleep[0]: expected a request, such as"),
        (
            f"{KEEP}wake = [{STEP}, {{ method = 'EAT', path = '/s' }}]\nsleep = [{STEP}]",
            "presets.x.keep.wake[1].method: expected one of GET, POST, PUT, got 'EAT'",
        ),
        (
            f"{KEEP}wake = [{STEP}]\nsleep = [{{ method = 'GET', path = '/a b' }}]",
            "presets.x.keep.sleep[0].path: expected a path of printable ASCII that begins with /, got '/a b'",
        ),
        (
            f"{KEEP}wake = [{STEP}]\nsleep = [{{ method = 'GET', path = '/', body = '{{' }}]",
            "presets.x.keep.sleep[0].body: expected JSON in a string",
        ),
        (
            f"{KEEP}wake = [{STEP}]\nsleep = [{{ method = 'GET', path = '/', body = '\"$m\"' }}]",
            'presets.x.keep.sleep[0].body: "$m" is in no answer before it: say keep = ["m"] there',
        ),
        (
            f"{KEEP}wake = [{STEP}]\nsleep = [{{ method = 'GET', path = '/', expected = 1 }}]",
            "presets.x.keep.sleep[0].expected: expected members of the answer with their values, got 1",
        ),
        (
            f"{KEEP}wake = [{STEP}]\nsleep = [{{ method = 'GET', path = '/', expected = {{ a = 2020-01-01 }} }}]",
            "presets.x.keep.sleep[0].expected: expected members",
        ),
        (
            f"{KEEP}wake = [{STEP}]\nsleep = [{{ method = 'GET', path = '/', keep = 'm' }}]",
            "presets.x.keep.sleep[0].keep: expected a list of the answer's members, got 'm'",
        ),
        (f"{KEEP}wake = [{STEP}]\nsleep = [{STEP}]\nzzz = 1", "presets.x.keep.zzz: no such key; there are"),
        (
            f"{KEEP}wake = [{STEP}]\nsleep = [{{ method = 'GET', path = '/', zzz = 1 }}]",
            "presets.x.keep.sleep[0].zzz: no such key; there are: method, path, body, expected, keep",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(text: str, problem: str) -> None:
    found = config.problems(table(text))
    assert [line for line in found if line.startswith(problem)], found
    assert all("\n" not in line for line in found)
    assert len(found) == 1 or "port = 1" not in text or "neither" in found[-1], found


def test_a_good_one_has_no_problem() -> None:
    assert config.problems(table(GOOD)) == []
