"""What is compared of an answer, and in what a copy's may differ."""

import json
from pathlib import Path

import pytest
from tests.test_capture_policy import parsed

from glowplug.agent.captures import canary
from glowplug.agent.captures.canary import Answer
from glowplug.agent.captures.running import Running
from glowplug.capture import policy
from glowplug.capture.policy import BadAnnotation, Canary
from glowplug.capture.work import CANARY
from glowplug.errors import CanaryError, HookError

RUNNING = Running("c0" * 32, 1, "", "")
QUESTION = Canary(8000, "/v1/completions", "{}", 0.1)


def openai(tokens: list[str], logprobs: list[float], **volatile: object) -> object:
    choice = {"index": 0, "text": "".join(tokens), "logprobs": {"tokens": tokens, "token_logprobs": logprobs}}
    return {"id": "cmpl-1", "created": 1, "choices": [choice], "usage": {"total_tokens": 9}, **volatile}


def sglang(ids: list[int], logprobs: list[float], seconds: float) -> object:
    triples = [[one, number, None] for one, number in zip(logprobs, ids, strict=True)]
    meta = {
        "id": str(seconds),
        "e2e_latency": seconds,
        "cached_tokens": int(seconds),
        "output_token_logprobs": triples,
    }
    return {"text": "x", "output_ids": ids, "meta_info": meta}


def difference(one: object, other: object, tolerance: float = 0.1) -> str:
    return canary.difference(canary.answer(one), canary.answer(other), tolerance)


def test_what_is_another_for_every_request_does_not_count() -> None:
    first = openai(["a", "b"], [-0.5, -0.25])
    assert difference(first, openai(["a", "b"], [-0.5, -0.25], id="cmpl-2", created=7, usage={})) == ""
    assert difference(sglang([1, 2], [-0.5, -0.2], 1.0), sglang([1, 2], [-0.5, -0.21], 9.0)) == ""


def test_tokens_are_exact_and_numbers_have_a_bound() -> None:
    first = openai(["a", "b"], [-0.5, -0.25])
    assert difference(first, openai(["a", "c"], [-0.5, -0.25])) == "the tokens differ"
    assert difference(first, openai(["a", "b"], [-0.5, -0.3])) == ""
    assert difference(first, openai(["a", "b"], [-0.5, -0.45])) == "a number is off by 0.2, 0.1 is allowed"
    assert difference(first, openai(["a", "b"], [-0.5])) == "1 numbers instead of 2"
    assert (
        difference(sglang([1, 2], [-0.5, -0.2], 1.0), sglang([1, 3], [-0.5, -0.2], 1.0))
        == "the tokens differ"
    )


@pytest.mark.parametrize("wrong", [[-0.5, float("nan")], [float("nan"), -0.25], [-0.5, float("-inf")]])
def test_what_is_no_number_any_more_is_another_answer(wrong: list[float]) -> None:
    """As of a copy whose memory on the GPU is not what it was, in any place."""
    first = openai(["a", "b"], [-0.5, -0.25])
    assert difference(first, openai(["a", "b"], wrong)).startswith("a number is off by")
    assert difference(openai(["a", "b"], wrong), openai(["a", "b"], wrong)) != ""


def test_a_probability_without_a_fraction_is_a_number() -> None:
    """Some servers write 0.0 as 0."""
    assert difference(openai(["a"], [0.0]), json.loads(json.dumps(openai(["a"], [0])))) == ""
    assert difference(sglang([1], [-0.01], 1.0), sglang([1], [0], 1.0)) == ""
    assert difference(openai(["a"], [0.0]), openai(["a"], [10**400])) != ""


def test_a_chats_content_with_log_probabilities() -> None:
    def chat(token: str, logprob: float) -> object:
        message = {"role": "assistant", "content": token}
        content = {"content": [{"token": token, "logprob": logprob, "bytes": [1]}]}
        return {"choices": [{"message": message, "logprobs": content}]}

    assert difference(chat("a", -0.1), chat("a", -0.15)) == ""
    assert difference(chat("a", -0.1), chat("b", -0.1)) == "the tokens differ"
    assert "off by" in difference(chat("a", -0.1), chat("a", -2.1))


def test_an_answer_without_tokens_is_compared_as_text() -> None:
    def embedding(*numbers: float, id: str = "1") -> object:
        return {"id": id, "object": "list", "data": [{"index": 0, "embedding": list(numbers)}]}

    assert difference(embedding(0.1, 0.2), embedding(0.1, 0.2, id="2")) == ""
    assert "off by" in difference(embedding(0.1, 0.2), embedding(0.1, 0.9))
    assert difference(embedding(0.1), {"data": []}) != ""


@pytest.mark.parametrize("said", [{}, [], None])
def test_an_answer_with_nothing_in_it_is_none(said: object) -> None:
    with pytest.raises(ValueError):
        canary.answer(said)


def answering(monkeypatch: pytest.MonkeyPatch, *answers: Answer) -> None:
    found = iter(answers)
    monkeypatch.setattr(canary, "ask", lambda question, running, until: next(found))


def test_a_question_that_proves_nothing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, Answer("a", (0.5,)), Answer("b", (0.5,)))
    with pytest.raises(HookError, match="another each time"):
        canary.before_capture(QUESTION, RUNNING, 1)


def test_a_copy_is_compared_with_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(
        monkeypatch, Answer("a", (0.5,)), Answer("a", (0.52,)), Answer("a", (0.45,)), Answer("b", (0.5,))
    )
    kept = canary.before_capture(QUESTION, RUNNING, 1)
    (tmp_path / "images").mkdir()
    (tmp_path / CANARY).write_text(json.dumps(kept))
    canary.after_restore(QUESTION, RUNNING, str(tmp_path), 1)
    with pytest.raises(CanaryError, match="expected the answer sha256:"):
        canary.after_restore(QUESTION, RUNNING, str(tmp_path), 1)


def test_a_checkpoint_without_an_answer_has_nothing_to_compare_and_garbage_is_an_error(
    tmp_path: Path,
) -> None:
    canary.after_restore(QUESTION, RUNNING, str(tmp_path), 1)
    (tmp_path / "images").mkdir()
    (tmp_path / CANARY).write_text("[]")
    with pytest.raises(HookError, match="can't be read"):
        canary.after_restore(QUESTION, RUNNING, str(tmp_path), 1)


def test_what_a_pod_says_of_it() -> None:
    found = parsed(
        canary="http-post://:8000/v1/completions", canary_body='{"prompt": "x"}', canary_tolerance="0.05"
    )
    assert found.canary == Canary(8000, "/v1/completions", '{"prompt": "x"}', 0.05)
    assert parsed().canary is None
    for wrong in (
        {"canary": "http-post://:8000/x"},
        {"canary": "exec:true", "canary_body": "{}"},
        {"canary": "http-post://:8000/x", "canary_body": "{"},
        {"canary": "http-post://:8000/x", "canary_body": "{}", "canary_tolerance": "-1"},
    ):
        with pytest.raises(BadAnnotation):
            parsed(**wrong)
    assert policy.DEFAULT_TOLERANCE >= 0.05


def test_a_checkpoint_that_is_gone_proves_nothing(tmp_path: Path) -> None:
    """Evicted since, or its namespace deleted: that copy does not pass without an answer."""
    with pytest.raises(HookError, match="the checkpoint is gone"):
        canary.after_restore(QUESTION, RUNNING, str(tmp_path / "gone"), 1.0)
