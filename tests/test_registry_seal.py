"""Encryption of artifacts: what repeats where, and that no change goes unseen."""

import os

import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tests.registry_made import NAMESPACE, SECRET

from glowplug.errors import RegistryMiss
from glowplug.registry import frames, seal


@given(st.binary(min_size=1, max_size=5000))
def test_a_chunk_comes_back(content: bytes) -> None:
    sealed = seal.seal_chunk(content, SECRET)
    assert b"".join(seal.open_chunk(sealed.blob, sealed.key, sealed.length, sealed.id)) == content
    assert content not in sealed.blob or len(content) < 8


@pytest.mark.parametrize("size", [4096, (128 << 10) - 1, 128 << 10, (128 << 10) + 1, 1 << 20])
def test_what_does_not_get_smaller_is_framed_as_it_is(size: int) -> None:
    content = os.urandom(size)
    blocks = -(-size // (128 << 10))
    sealed = seal.seal_chunk(content, None)
    assert len(sealed.blob) == size + 9 + 3 * blocks
    assert b"".join(seal.open_chunk(sealed.blob, b"", size, sealed.id)) == content
    assert zstandard.ZstdDecompressor().decompress(sealed.blob) == content


@given(st.binary(min_size=1, max_size=40), st.integers(1, 40))
def test_a_frame_that_only_looks_raw_is_left_to_zstd(tail: bytes, length: int) -> None:
    """What is taken for raw blocks is what zstd makes of them, too."""
    for frame in (frames.raw(tail)[: -len(tail) // 2], frames.raw(tail)[:9] + tail, frames.raw(tail)):
        blocks = frames.raw_blocks(memoryview(frame), length)
        if blocks is not None:
            assert b"".join(blocks) == zstandard.ZstdDecompressor().decompress(frame)


def test_what_only_begins_like_noise_gets_smaller() -> None:
    assert len(seal.seal_chunk(os.urandom(64 << 10) + bytes(64 << 10), None).blob) < 80 << 10


def test_the_same_chunk_is_the_same_blob_in_its_namespace_alone() -> None:
    content = os.urandom(5000)
    assert seal.seal_chunk(content, SECRET) == seal.seal_chunk(content, SECRET)
    other = seal.seal_chunk(content, b"t" * 32)
    assert other.blob != seal.seal_chunk(content, SECRET).blob
    assert other.key != seal.seal_chunk(content, SECRET).key


def test_different_chunks_have_different_keys() -> None:
    """A key encrypts one message: that is what its zero nonce rests on."""
    keys = {seal.seal_chunk(b"%d" % number, SECRET).key for number in range(200)}
    assert len(keys) == 200


@given(st.data())
def test_a_flipped_bit_is_seen(data: st.DataObject) -> None:
    sealed = seal.seal_chunk(b"memory of a process" * 20, SECRET)
    at = data.draw(st.integers(0, len(sealed.blob) * 8 - 1))
    changed = bytearray(sealed.blob)
    changed[at // 8] ^= 1 << at % 8
    with pytest.raises(RegistryMiss) as miss:
        seal.open_chunk(bytes(changed), sealed.key, sealed.length, sealed.id)
    assert miss.value.slug == "damaged"


@given(st.binary(max_size=300))
def test_no_bytes_open_as_a_chunk(blob: bytes) -> None:
    for key in (b"k" * 32, b""):
        with pytest.raises(RegistryMiss):
            seal.open_chunk(blob, key, 100, "0" * 64)


def test_a_chunk_longer_than_was_signed_is_not_unpacked() -> None:
    bomb = seal.seal_chunk(bytes(50 << 20), None)
    with pytest.raises(RegistryMiss, match="another length"):
        seal.open_chunk(bomb.blob, b"", 4096, bomb.id)


def test_a_chunk_in_another_s_place_is_seen() -> None:
    one, other = seal.seal_chunk(b"1" * 500, SECRET), seal.seal_chunk(b"2" * 500, SECRET)
    with pytest.raises(RegistryMiss):
        seal.open_chunk(other.blob, one.key, one.length, one.id)


def test_an_index_opens_in_its_own_artifact_alone() -> None:
    key = seal.new_content_key()
    blob = seal.seal_index(b"{}", key, b"models\0key")
    assert seal.open_index(blob, key, b"models\0key", 100) == b"{}"
    for other_key, bound in ((key, b"other\0key"), (seal.new_content_key(), b"models\0key")):
        with pytest.raises(RegistryMiss):
            seal.open_index(blob, other_key, bound, 100)
    assert seal.seal_index(b"{}", key, b"models\0key") != blob  # a nonce of its own each time


def test_a_content_key_is_its_recipient_s() -> None:
    recipient, other = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    key = seal.new_content_key()
    wrapped = seal.wrap(key, recipient.public_key(), NAMESPACE)
    assert seal.unwrap(wrapped, recipient, NAMESPACE) == key
    for identity, namespace in ((other, NAMESPACE), (recipient, "another")):
        with pytest.raises(RegistryMiss):
            seal.unwrap(wrapped, identity, namespace)


@given(st.binary(max_size=32), st.binary(max_size=60))
def test_no_bytes_are_a_wrapped_key(ephemeral: bytes, wrapped: bytes) -> None:
    recipient = X25519PrivateKey.from_private_bytes(b"r" * 32)
    found = seal.Wrapped(recipient.public_key().public_bytes_raw(), ephemeral, wrapped)
    with pytest.raises(RegistryMiss):
        seal.unwrap(found, recipient, NAMESPACE)
