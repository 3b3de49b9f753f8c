"""When a fresh checkpoint is tried, and what a trial's end means for it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.checkpoint_made import spec

from glowplug.capture import trial
from glowplug.checkpoint import bundle
from glowplug.errors import HostError, NotRestorable, UsageError
from glowplug.restore.trial.task import Answer

ALWAYS = {"glowplug.dev/trial": "always"}


def facts(annotations: dict[str, str], **process: object) -> bundle.BundleFacts:
    made = spec()
    made["process"] = {**made["process"], **process}
    made["annotations"] = {**made["annotations"], **annotations}
    return bundle.read(made)


def work(draft: Path, annotations: dict[str, str] | None = None, *, known: bool = False, **more: Any) -> Any:
    """A capture whose images are there, on a node whose default is `first`."""
    (draft / "images").mkdir(exist_ok=True)
    state = SimpleNamespace(quarantined=lambda now: more.get("quarantined", False))
    store = SimpleNamespace(
        now=lambda: 0.0,
        state=lambda name: state,
        index=SimpleNamespace(find=lambda namespace, key: [SimpleNamespace(id="a")] if known else []),
    )
    return SimpleNamespace(
        subject=SimpleNamespace(facts=facts(annotations or {}), record=SimpleNamespace(id="c")),
        draft=str(draft),
        taken=SimpleNamespace(
            judgement=SimpleNamespace(namespace="default", key=SimpleNamespace(digest="k"))
        ),
        store=store,
        config=SimpleNamespace(trial="first"),
    )


def tried(made: Any) -> str:
    return trial.run(made, made.subject, made.draft, made.taken)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer | Exception], None]:
    """Says how the trial's process ends."""

    def say(answer: Answer | Exception) -> None:
        def tried(task: object, container: str) -> Answer:
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(trial, "_tried", tried)
        monkeypatch.setattr(trial, "_task", lambda *_: None)

    return say


@pytest.mark.parametrize(
    ("annotations", "wanted"),
    [
        ({}, "first"),
        (ALWAYS, "always"),
        ({"glowplug.dev/trial": " never "}, "never"),
        ({**ALWAYS, "glowplug.dev/trial.main": "never"}, "never"),
        ({**ALWAYS, "glowplug.dev/trial.sidecar": "never"}, "always"),
    ],
)
def test_the_pod_is_queried_before_the_node(annotations: dict[str, str], wanted: str) -> None:
    made = facts(annotations)
    own = {name.replace(".main", f".{made.container_name}"): value for name, value in annotations.items()}
    assert trial.policy_of(facts(own), "first") == wanted


def test_a_word_that_is_invalid_refuses_the_capture() -> None:
    with pytest.raises(UsageError, match=r"glowplug\.dev/trial: expected one of always, first, never"):
        trial.policy_of(facts({"glowplug.dev/trial": "sometimes"}), "first")


@pytest.mark.parametrize(
    ("annotations", "known", "quarantined", "said"),
    [
        ({}, False, False, trial.PASSED),
        ({}, True, False, ""),
        ({}, True, True, trial.PASSED),
        (ALWAYS, True, False, trial.PASSED),
        ({"glowplug.dev/trial": "never"}, False, False, ""),
    ],
)
def test_first_means_that_the_cache_has_none_that_could_be_used(
    tmp_path: Path,
    ends: Callable[[Answer], None],
    annotations: dict[str, str],
    known: bool,
    quarantined: bool,
    said: str,
) -> None:
    ends(Answer())
    assert tried(work(tmp_path, annotations, known=known, quarantined=quarantined)) == said


@pytest.mark.parametrize(
    "answer",
    [
        Answer("criu", "a file … (CRIU: Can't open file node/log on restore: No such file or directory)"),
        Answer("state", "the state of a process can't be set again"),
        Answer("health", "process 7 came back with another uids"),
    ],
)
def test_the_checkpoint_s_own_fault_is_not_published(
    tmp_path: Path, ends: Callable[[Answer], None], answer: Answer
) -> None:
    ends(answer)
    with pytest.raises(NotRestorable, match=f"failed in the step {answer.stage}: "):
        tried(work(tmp_path))


@pytest.mark.parametrize(
    "answer",
    [
        Answer("place", "no namespaces can be made for it"),
        Answer("layer", "/data can't be seen through an overlay"),
        Answer("criu", "CRIU's log names no error"),
        Answer("criu", "Can't write: No space left on device"),
        Answer("deadline", "the step criu was not done when the time for a restore was over"),
        Answer("killed", "signal 9 ended the restore in its step criu"),
        HostError("no process can be made"),
        OSError("No space left on device"),
    ],
)
def test_a_trial_that_could_not_be_made_is_said_and_is_no_verdict(
    tmp_path: Path, ends: Callable[[Answer | Exception], None], answer: Answer | Exception
) -> None:
    ends(answer)
    assert tried(work(tmp_path)).startswith(f"{trial.SKIPPED}: it c")


def test_it_costs_no_more_than_the_node_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glowplug.host.memory.available", lambda: 100_000_000)
    assert "MB of memory, more than a half of the 100 MB" in tried(work(tmp_path, ALWAYS))
    monkeypatch.setattr("glowplug.host.memory.available", lambda: None)
    assert "of memory" in tried(work(tmp_path, ALWAYS))
    monkeypatch.undo()
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer" / "file").write_bytes(b"x" * 8192)
    monkeypatch.setattr(trial, "COPIED_BYTES", 4096)
    assert "it would copy" in tried(work(tmp_path, ALWAYS))


@pytest.mark.parametrize("container", [False, True])
def test_an_agent_that_gave_up_privileges_makes_none_that_it_would_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: Callable[[Answer], None], container: bool
) -> None:
    """What is restored would come back with no_new_privs: no fault of the checkpoint."""
    monkeypatch.setattr("glowplug.host.process.has_no_new_privs", lambda: True)
    ends(Answer())
    made = work(tmp_path)
    made.subject.facts = facts({}, noNewPrivileges=container)
    said = tried(made)
    assert (
        said == trial.PASSED
        if container
        else said.startswith(f"{trial.SKIPPED}: the agent runs with no_new_privs")
    )


@pytest.mark.parametrize("words", [[], ["setpriv", "--no-new-privs"]])
def test_a_process_knows_whether_it_has_no_new_privs(words: list[str]) -> None:
    code = "from glowplug.host import process; print(process.has_no_new_privs())"
    done = subprocess.run([*words, sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(bool(words))
