"""Questions to an inference engine, by its own route, and what an answer says: token ids, log-probabilities, text."""

from __future__ import annotations

import json
from typing import Any

PROMPT = [5, 17, 99, 200, 31]
TOKENS = 16
VLLM = (
    "/v1/completions",
    {
        "model": "m",  # the name under which serve.sh serves any model
        "prompt": PROMPT,
        "max_tokens": TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "logprobs": 1,
        "return_tokens_as_token_ids": True,
    },
)
SGLANG = (
    "/generate",
    {
        "input_ids": PROMPT,
        "sampling_params": {"max_new_tokens": TOKENS, "temperature": 0, "ignore_eos": True},
        "return_logprob": True,
    },
)
Question = tuple[str, dict[str, Any]]


def without_logprobs(question: Question) -> dict[str, Any]:
    """The body as most clients send it."""
    return {
        name: value
        for name, value in question[1].items()
        if "logprob" not in name and "tokens_as" not in name
    }


def of_vllm(body: bytes) -> dict[str, Any]:
    """Raises ValueError, KeyError, TypeError for what is no such answer."""
    choice = json.loads(body)["choices"][0]
    found = choice["logprobs"]
    return {"ids": found["tokens"], "logprobs": found["token_logprobs"], "text": choice["text"]}


def of_sglang(body: bytes) -> dict[str, Any]:
    """The same."""
    answer = json.loads(body)
    found = answer["meta_info"]["output_token_logprobs"]
    return {"ids": [one[1] for one in found], "logprobs": [one[0] for one in found], "text": answer["text"]}


def text_of(body: bytes) -> str:
    """The text alone, of either."""
    answer = json.loads(body)
    return str(answer["text"] if "text" in answer else answer["choices"][0]["text"])
