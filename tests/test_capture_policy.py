"""Annotations about captures: what each form means, and that nothing wrong passes or breaks the parser."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glowplug.capture import policy
from glowplug.capture.policy import BadAnnotation, Hook, Policy, Ready
from glowplug.checkpoint import bundle
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.engines import PRESETS, Step

GPU = {"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0}


def facts(annotations: dict[str, str], *, gpu: bool = False) -> BundleFacts:
    """Of a container `main`."""
    own = {f"glowplug.dev/{name}": value for name, value in annotations.items()}
    return bundle.read(
        {
            "annotations": {**own, "io.kubernetes.cri.container-name": "main"},
            "linux": {"devices": [GPU] if gpu else []},
        }
    )


def parsed(**annotations: str) -> Policy:
    return policy.of(facts({name.replace("_", "-"): text for name, text in annotations.items()}), "ready")


def test_a_pod_that_says_nothing_has_the_nodes_policy_and_no_way_to_say_that_it_is_ready() -> None:
    found = policy.of(facts({}), "never")
    assert (found.when, found.ready, found.before_capture, found.max_pause_s) == ("never", None, None, None)


def test_a_port_of_the_pod_says_nothing_of_two_containers() -> None:
    """Or the one is captured when the other is ready."""
    both = {"containers": "main, other"}
    for text in ("http://:8000/health", "tcp://:8000"):
        with pytest.raises(policy.BadAnnotation, match=r"say glowplug\.dev/ready\.NAME for each"):
            parsed(**both, ready=text)
    assert parsed(**both, ready="file:/run/ready").ready
    assert parsed(containers="main", ready="tcp://:8000").ready
    own = policy.of(facts({**both, "ready": "tcp://:8000", "ready.main": "tcp://:8001"}), "ready")
    assert own.ready == Ready("tcp", port=8001)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("http://:8000/health", Ready("http", port=8000, path="/health")),
        ("http://:8000", Ready("http", port=8000, path="/")),
        ("http://:8000/a?b=1&c=2", Ready("http", port=8000, path="/a?b=1&c=2")),
        ("tcp://:9", Ready("tcp", port=9)),
        ("exec:cat '/tmp/a b'", Ready("exec", command=("cat", "/tmp/a b"))),
        ("file:/tmp/ready", Ready("file", path="/tmp/ready")),
        ("log:^listening on :\\d+", Ready("log", regex="^listening on :\\d+")),
        ("after:1.5m", Ready("after", seconds=90.0)),
    ],
)
def test_ready(text: str, meant: Ready) -> None:
    assert parsed(ready=text).ready == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("http-post://:8000/sleep", Hook("http-post", port=8000, path="/sleep")),
        ("exec:sync -f /", Hook("exec", command=("sync", "-f", "/"))),
        ("signal:USR1", Hook("signal", signal=signal.SIGUSR1)),
        ("signal:SIGHUP", Hook("signal", signal=signal.SIGHUP)),
    ],
)
def test_hooks(text: str, meant: Hook) -> None:
    found = parsed(before_capture=text, after_restore=text)
    assert (found.before_capture, found.after_capture, found.after_restore) == (meant, None, meant)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("capture", "always"),
        ("ready", "health"),
        ("ready", "http://10.0.0.1:80/"),
        ("ready", "http://user@:80/"),
        ("ready", "http://:80@169.254.169.254/"),
        ("ready", "http://:0/"),
        ("ready", "http://:99999/"),
        ("ready", "http://:８０/"),
        ("ready", "http://:80/ HTTP/1.1\r\nX: y"),
        ("ready", "http://:80]/"),
        ("ready", "https://:443/"),
        ("ready", "tcp://:80/path"),
        ("ready", "exec:"),
        ("ready", "exec:'unbalanced"),
        ("ready", "file:relative"),
        ("ready", "log:"),
        ("ready", "log:up\0"),
        ("ready", "after:30"),
        ("ready", "after:-1s"),
        ("ready", "after:1e9s"),
        ("before-capture", "http://:80/"),
        ("after-capture", "signal:NOPE"),
        ("after-restore", "signal:9"),
        ("restored-signal", "whatever"),
        ("max-pause", "fast"),
        ("hook-timeout", "0s"),
        ("hook-timeout", "601s"),
        ("engine", "ollama"),
        ("weights", "twice"),
        ("engine", "vllm:"),
    ],
)
def test_what_is_wrong_is_describe_by_name(name: str, text: str) -> None:
    with pytest.raises(BadAnnotation) as error:
        policy.of(facts({name: text}), "ready")
    assert str(error.value).startswith(f"glowplug.dev/{name}: expected ")
    assert "Invalid" not in str(error.value)


def test_a_wrong_value_is_not_shown() -> None:
    with pytest.raises(BadAnnotation) as error:
        parsed(ready="exec:check --password 's3cret")
    assert "s3cret" not in str(error.value)


@given(st.text(max_size=40), st.sampled_from(["capture", "ready", "before-capture", "max-pause", "engine"]))
def test_no_text_breaks_the_parser(text: str, name: str) -> None:
    try:
        policy.of(facts({name: text}), "ready")
    except BadAnnotation:
        return


def test_an_engine_brings_its_hooks_and_its_readiness() -> None:
    vllm, sglang = parsed(engine="vllm"), parsed(engine="sglang:9000")
    assert vllm.ready == Ready("http", port=8000, path="/health")
    assert vllm.before_capture == Hook("engine", port=8000, steps=PRESETS["vllm"]["keep"].sleep)
    assert (
        vllm.after_capture
        == vllm.after_restore
        == Hook("engine", port=8000, steps=PRESETS["vllm"]["keep"].wake)
    )
    assert sglang.before_capture == Hook("engine", port=9000, steps=PRESETS["sglang"]["keep"].sleep)
    assert sglang.after_restore == Hook("engine", port=9000, steps=PRESETS["sglang"]["keep"].wake)


def test_weights_that_are_read_again_are_another_way_to_sleep() -> None:
    found = parsed(engine="vllm", weights="reload")
    assert found.before_capture is not None and found.after_restore is not None
    assert found.before_capture.steps[0] == Step("POST", "/sleep?level=2")
    assert [step.path for step in found.after_restore.steps] == [
        "/wake_up?tags=weights",
        "/collective_rpc",
        "/wake_up?tags=kv_cache",
        "/is_sleeping",
    ]


def test_what_the_pod_says_itself_goes_before_the_engines_way() -> None:
    found = parsed(engine="vllm", ready="tcp://:1", before_capture="signal:USR2")
    assert found.ready == Ready("tcp", port=1)
    assert found.before_capture == Hook("signal", signal=signal.SIGUSR2)
    assert found.after_capture == Hook("engine", port=8000, steps=PRESETS["vllm"]["keep"].wake)


def test_an_annotation_may_be_for_one_container_of_the_pod() -> None:
    said = {"ready": "tcp://:1", "ready.main": "tcp://:2", "ready.other": "garbage"}
    assert policy.of(facts(said), "ready").ready == Ready("tcp", port=2)


def test_which_containers_are_captured() -> None:
    listed = facts({"containers": "other, main"})
    others = facts({"containers": "other"}, gpu=True)
    assert policy.is_chosen(listed, "gpu") and not policy.is_chosen(others, "all")
    assert policy.is_chosen(facts({}, gpu=True), "gpu")
    assert not policy.is_chosen(facts({}), "gpu")
    assert policy.is_chosen(facts({}), "all")
