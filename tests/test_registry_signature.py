"""Signatures: of this manifest, by a trusted key, and nothing else."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from glowplug.errors import RegistryMiss
from glowplug.registry import signature
from glowplug.registry.signature import PrivateKey

DIGEST = "sha256:" + "a" * 64
KEYS: list[PrivateKey] = [ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()]


def slug_of(digest: str, found: list[tuple[bytes, str]], key: PrivateKey) -> str:
    with pytest.raises(RegistryMiss) as miss:
        signature.require(digest, found, [key.public_key()])
    return miss.value.slug


@pytest.mark.parametrize("key", KEYS)
def test_what_was_signed_is_accepted(key: PrivateKey) -> None:
    signed = signature.payload("registry/models", DIGEST, {"dev.glowplug.key": "k"})
    found = [(signed, signature.sign(signed, key))]
    signature.require(DIGEST, [(b"{}", "bm8="), *found], [KEYS[0].public_key(), KEYS[1].public_key()])
    assert json.loads(signed)["critical"]["image"]["docker-manifest-digest"] == DIGEST


def test_each_refusal_has_its_reason() -> None:
    key, other = KEYS
    signed = signature.payload("registry/models", DIGEST, {})
    found = [(signed, signature.sign(signed, key))]
    assert slug_of(DIGEST, [], key) == "unsigned"
    assert slug_of(DIGEST, found, other) == "wrong-signature"
    assert slug_of("sha256:" + "b" * 64, found, key) == "other-signature"
    another_type = signed.replace(b"cosign container image signature", b"cosign attestation")
    assert slug_of(DIGEST, [(another_type, signature.sign(another_type, key))], key) == "other-signature"


@given(st.binary(max_size=200), st.text(max_size=100))
def test_no_bytes_are_a_signature(signed: bytes, said: str) -> None:
    assert slug_of(DIGEST, [(signed, said)], KEYS[0]) == "wrong-signature"


@given(st.binary(max_size=100))
def test_a_signed_payload_of_any_form_names_no_manifest(signed: bytes) -> None:
    assert slug_of(DIGEST, [(signed, signature.sign(signed, KEYS[1]))], KEYS[1]) == "other-signature"
