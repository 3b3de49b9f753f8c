"""The identity of a mounted ConfigMap, Secret or projected volume."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import checkpoint_made as made

from glowplug.checkpoint import content
from glowplug.checkpoint.noise import by_value

FILES = st.lists(
    st.tuples(st.text(max_size=8), st.integers(0, 0o777), st.binary(max_size=32)),
    unique_by=lambda file: file[0],
)


def token(**claims: Any) -> bytes:
    parts = (json.dumps(part).encode() for part in ({"alg": "RS256", "kid": "1"}, claims))
    return b".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts), b"c2lnbmF0dXJl"])


def digest_of(data: bytes) -> str:
    return content.digest([("token", 0o644, data)])


@given(FILES, st.randoms())
@settings(deadline=None)
def test_the_order_means_nothing(files: list[tuple[str, int, bytes]], random: Any) -> None:
    mixed = list(files)
    random.shuffle(mixed)
    assert content.digest(mixed) == content.digest(files)


@given(FILES, FILES)
@settings(deadline=None)
def test_two_contents_are_two_digests(
    one: list[tuple[str, int, bytes]], other: list[tuple[str, int, bytes]]
) -> None:
    assert (content.digest(one) == content.digest(other)) == (sorted(one) == sorted(other))


def test_a_rotated_token_is_the_same() -> None:
    first = token(iss="k8s", sub="system:serviceaccount:models:a", aud=["api"], exp=1000, iat=1, jti="x")
    second = token(iss="k8s", sub="system:serviceaccount:models:a", aud=["api"], exp=2000, iat=2, jti="y")
    assert first != second
    assert digest_of(first) == digest_of(second + b"\n")


def test_a_token_of_another_account_or_audience_is_another() -> None:
    claims = {"iss": "k8s", "sub": "system:serviceaccount:models:a", "aud": ["api"], "exp": 1000}
    seen = {
        digest_of(token(**(claims | change)))
        for change in ({}, {"sub": "b"}, {"aud": ["vault"]}, {"iss": "x"})
    }
    assert len(seen) == 4


def test_an_account_is_known_by_its_token_in_whatever_namespace() -> None:
    for namespace in ("models", "jobs"):
        found = token(sub=f"system:serviceaccount:{namespace}:reader.v2", exp=1000)
        assert content.service_account(found + b"\n") == "reader.v2"


@pytest.mark.parametrize(
    "found",
    [
        b"",
        b"a.b.c",
        token(exp=1000),
        token(sub=7, exp=1000),
        token(sub="reader", exp=1000),
        token(sub="system:serviceaccount:models:", exp=1000),
        token(sub="system:serviceaccount:models:reader"),  # never expires: what rotates does
        token(sub="system:node:models:reader", exp=1000),
    ],
)
def test_what_is_no_account_s_token_names_none(found: bytes) -> None:
    assert content.service_account(found) is None


def test_what_only_looks_like_a_token_counts_byte_by_byte() -> None:
    assert digest_of(token(sub="a")) != digest_of(token(sub="a", iat=1))  # never expires: not a rotating one
    assert digest_of(b"a.b.c") != digest_of(b"a.b.d")
    assert digest_of(b"W10.W10.x") != digest_of(b"W10.W10.y")  # JSON, but lists


def test_a_downward_file_with_the_pod_s_name_is_noise() -> None:
    def of(facts: Any) -> str:
        return content.digest([("name", 0o644, facts.name.encode())], lambda text: by_value(facts, "", text))

    _, other = made.other_pod(made.spec())
    assert of(made.SANDBOX_FACTS) == of(other)


@given(st.binary(max_size=64))
@settings(deadline=None)
def test_any_bytes_have_a_digest(data: bytes) -> None:
    assert len(content.digest([("x", 0, data)], lambda text: text)) == 64
