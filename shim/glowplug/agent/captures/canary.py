"""A question whose answer is known: put before a capture, and to every copy after it was woken.

What a copy says has to be what the captured process said: token ids and text exactly, log-probabilities within a bound,
since kernels may add in another order. Of an answer only a digest and the numbers are kept, in the checkpoint.

A question that the same process answers otherwise the second time proves nothing: it is put twice before a capture.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from glowplug.agent.captures import hooks
from glowplug.agent.captures.running import Running
from glowplug.capture.policy import Canary
from glowplug.capture.work import CANARY
from glowplug.errors import CanaryError, HookError
from glowplug.podnet import http

LONGEST_ANSWER = 1 << 20

# Members with what was generated: of OpenAI's API, of vLLM's and of SGLang's own.
_EXACT = frozenset(("token_ids", "output_ids", "tokens", "text", "content", "generated_text", "output_text"))
_NUMBERS = frozenset(("token_logprobs", "logprob"))
_LARGE = 1 << 53
_TRIPLES = "output_token_logprobs"  # SGLang: [log-probability, token id, text] for each token
# Members that differ with each request, where an answer has none of those above: an embedding's, for instance.
_VOLATILE = frozenset(
    ("id", "created", "created_at", "request_id", "system_fingerprint", "usage", "meta_info")
)


@dataclass(frozen=True, slots=True)
class Answer:
    """`exact`: a digest of what has to be equal. `numbers`: what may be off by the bound."""

    exact: str
    numbers: tuple[float, ...]

    @property
    def digest(self) -> str:
        """Of all of it, as its identity."""
        text = json.dumps([self.exact, [round(number, 3) for number in self.numbers]])
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()[:16]


def before_capture(question: Canary, running: Running, timeout_s: float) -> dict[str, Any]:
    """The answer as JSON values, for the checkpoint. Raises HookError where there is none to rely on."""
    until = time.monotonic() + timeout_s
    first, second = ask(question, running, until), ask(question, running, until)
    why = difference(first, second, question.tolerance)
    if why:
        raise HookError(
            f"the canary's answer is another each time ({why}): ask with temperature 0, or a larger bound"
        )
    return {"exact": first.exact, "numbers": list(first.numbers)}


def after_restore(question: Canary, running: Running, checkpoint: str, timeout_s: float) -> None:
    """Raises CanaryError where a copy answers otherwise than its original did, HookError where it does not answer.

    checkpoint: its directory. One without an answer, made by hand with `glowplug capture`, has nothing to compare.
    """
    try:
        with open(os.path.join(checkpoint, CANARY)) as file:
            kept = json.load(file)
        expected = Answer(str(kept["exact"]), tuple(float(number) for number in kept["numbers"]))
    except FileNotFoundError:
        if os.path.isdir(checkpoint):
            return
        raise HookError("the checkpoint is gone, and with it what the canary's answer has to be") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HookError(f"the canary's answer in the checkpoint can't be read: {error}") from error
    got = ask(question, running, time.monotonic() + timeout_s)
    why = difference(expected, got, question.tolerance)
    if why:
        raise CanaryError(f"canary: expected the answer {expected.digest}, got {got.digest}: {why}")


def ask(question: Canary, running: Running, until: float) -> Answer:
    """Raises HookError, with nothing of what the server said."""
    what = f"canary POST {question.path} on port {question.port}"
    try:
        with closing(hooks.connected(question.port, running, until)) as connection:
            status, said = http.exchange(
                connection, "POST", question.path, question.body, until, LONGEST_ANSWER
            )
    except (OSError, ValueError) as error:
        raise HookError(f"{what}: no answer: {error}") from error
    if not 200 <= status < 300:
        raise HookError(f"{what}: the server answered {status}")
    try:
        return answer(json.loads(said))
    except (ValueError, RecursionError):
        raise HookError(f"{what}: the answer is not JSON of at most {LONGEST_ANSWER} bytes") from None


def answer(said: object) -> Answer:
    """What is compared of a server's answer. Raises ValueError for one that holds nothing to compare."""
    exact: list[object] = []
    numbers: list[float] = []
    _generated(said, exact, numbers)
    if not exact and not numbers:
        _everything(said, exact, numbers)
    if not exact and not numbers:
        raise ValueError("an answer with nothing in it")
    text = json.dumps(exact, sort_keys=True)
    return Answer(hashlib.sha256(text.encode()).hexdigest(), tuple(numbers))


def difference(expected: Answer, got: Answer, tolerance: float) -> str:
    """In what an answer is another, or ""."""
    if expected.exact != got.exact:
        return "the tokens differ"
    if len(expected.numbers) != len(got.numbers):
        return f"{len(got.numbers)} numbers instead of {len(expected.numbers)}"
    for one, other in zip(expected.numbers, got.numbers, strict=True):
        off = abs(one - other)
        if not off <= tolerance:  # also where one is no number (NaN)
            return f"a number is off by {off:.3g}, {tolerance:g} is allowed"
    return ""


def _generated(said: object, exact: list[object], numbers: list[float]) -> None:
    if isinstance(said, list):
        for one in said:
            _generated(one, exact, numbers)
    if not isinstance(said, dict):
        return
    for name, value in said.items():
        if name == _TRIPLES and isinstance(value, list):
            for triple in value:
                probability, rest = (triple[:1], triple[1:]) if isinstance(triple, list) else ([], triple)
                _probabilities(probability, exact, numbers)
                _everything(rest, exact, numbers)
        elif name in _NUMBERS:
            _probabilities(value, exact, numbers)
        elif name in _EXACT and not isinstance(value, dict):
            # Of a chat's log-probabilities `content` is a list of objects, with numbers in them.
            is_plain = not isinstance(value, list) or not any(isinstance(one, dict) for one in value)
            if is_plain and value is not None:
                exact.append(value)
            else:
                _generated(value, exact, numbers)
        else:
            _generated(value, exact, numbers)


def _probabilities(said: object, exact: list[object], numbers: list[float]) -> None:
    """One or a list. Some servers write 0.0 as 0."""
    for one in said if isinstance(said, list) else [said]:
        if isinstance(one, int) and not isinstance(one, bool):
            numbers.append(float(max(-_LARGE, min(one, _LARGE))))
        else:
            _everything(one, exact, numbers)


def _everything(said: object, exact: list[object], numbers: list[float]) -> None:
    if isinstance(said, float):
        numbers.append(said)
    elif isinstance(said, list):
        for one in said:
            _everything(one, exact, numbers)
    elif isinstance(said, dict):
        for name in sorted(said.keys() - _VOLATILE):
            exact.append(name)
            _everything(said[name], exact, numbers)
    elif said is not None:
        exact.append(said)
