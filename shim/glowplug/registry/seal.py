"""Encryption of an artifact's blobs. No I/O.

Each chunk is one zstd frame, encrypted with AES-256-GCM under a key of its own:

    key = HMAC-SHA-256(namespace's secret, "glowplug chunk v1" 0x00 blake3(frame)),  nonce = 12 zero bytes

One key encrypts one message, which a zero nonce is sound for; the same frame in the same namespace gives the same
bytes, so that they are stored once, and in another namespace others, so that nobody learns from them what another
tenant has. The keys are in the index. That is encrypted under a random content key with a random nonce,
and the content key is wrapped for each recipient:

    KEK = HKDF-SHA-256(X25519(ephemeral, recipient), salt = ephemeral public key + recipient's, info)
    wrapped = AES-256-GCM(KEK, nonce = 12 zero bytes, content key)
"""

import hashlib
import hmac
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from glowplug.errors import RegistryMiss
from glowplug.registry import frames

KEY_BYTES = 32
_NONCE_BYTES = 12
_ZERO_NONCE = bytes(_NONCE_BYTES)
_CHUNK = b"glowplug chunk v1"
_INDEX = b"glowplug index v1\0"
_CONTENT_KEY = b"glowplug content key v1\0"
_LEVEL, _QUICK_LEVEL = 1, -5
_SAMPLE = 4 << 10  # bytes
_THREAD = threading.local()
"""zstd contexts are one thread's."""


Pieces = Sequence[bytes | memoryview]
"""A content, one part behind the other."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A chunk as it is stored, the blake3 of its frame, the key that opens it (empty: it is plain), the bytes in it."""

    blob: bytes
    id: str
    key: bytes
    length: int


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A content key wrapped for one recipient. `recipient`, `ephemeral`: X25519 public keys, 32 bytes each."""

    recipient: bytes
    ephemeral: bytes
    wrapped: bytes


def seal_chunk(content: bytes | memoryview, secret: bytes | None) -> Sealed:
    """A chunk as it leaves the node. secret: of its namespace; None: compressed and not encrypted."""
    frame = _compressed(content)
    found = blake3(frame)
    if secret is None:
        return Sealed(frame, found.hexdigest(), b"", len(content))
    key = hmac.digest(secret, _CHUNK + b"\0" + found.digest(), hashlib.sha256)
    return Sealed(AESGCM(key).encrypt(_ZERO_NONCE, frame, _CHUNK), found.hexdigest(), key, len(content))


def seal_again(content: bytes, id: str, key: bytes) -> bytes:
    """The blob that was made of a chunk before. Raises RegistryMiss where it is not the same one now."""
    frame = _compressed(content)
    if blake3(frame).hexdigest() != id:
        raise RegistryMiss("damaged", "the chunk's content gives another frame now")
    return AESGCM(key).encrypt(_ZERO_NONCE, frame, _CHUNK) if key else frame


def open_chunk(blob: bytes | memoryview, key: bytes, length: int, id: str) -> Pieces:
    """The chunk's content, in pieces. Raises RegistryMiss: another key, another blob, another length."""
    if not key and blake3(blob).hexdigest() != id:
        raise RegistryMiss("damaged", "a chunk is another one than was signed")
    frame = _decrypted(blob, key, _ZERO_NONCE, _CHUNK, "a chunk") if key else blob
    return frames.raw_blocks(memoryview(frame), length) or (_decompressed(frame, length, "a chunk"),)


def seal_index(content: bytes, content_key: bytes | None, bound_to: bytes) -> bytes:
    """The index as it leaves the node. bound_to: of what artifact it is, compared when it is opened."""
    frame = _compressed(content)
    if content_key is None:
        return frame
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(content_key).encrypt(nonce, frame, _INDEX + bound_to)


def open_index(blob: bytes, content_key: bytes | None, bound_to: bytes, limit: int) -> bytes:
    """The index, of limit bytes at most. Raises RegistryMiss."""
    if content_key is not None:
        nonce, sealed = blob[:_NONCE_BYTES], blob[_NONCE_BYTES:]
        blob = _decrypted(sealed, content_key, nonce, _INDEX + bound_to, "the index")
    return _decompressed(blob, limit, "the index", exactly=False)


def new_content_key() -> bytes:
    """Drawn for one artifact."""
    return os.urandom(KEY_BYTES)


def wrap(content_key: bytes, recipient: X25519PublicKey, namespace: str) -> Wrapped:
    """The content key, readable by who has the recipient's private key alone."""
    ephemeral = X25519PrivateKey.generate()
    own, other = ephemeral.public_key().public_bytes_raw(), recipient.public_bytes_raw()
    kek = _kek(ephemeral, recipient, own + other, namespace)
    return Wrapped(other, own, AESGCM(kek).encrypt(_ZERO_NONCE, content_key, None))


def unwrap(found: Wrapped, identity: X25519PrivateKey, namespace: str) -> bytes:
    """The content key. Raises RegistryMiss where it was wrapped for another, or changed."""
    try:
        ephemeral = X25519PublicKey.from_public_bytes(found.ephemeral)
        kek = _kek(identity, ephemeral, found.ephemeral + found.recipient, namespace)
        return AESGCM(kek).decrypt(_ZERO_NONCE, found.wrapped, None)
    except (InvalidTag, ValueError) as error:
        raise RegistryMiss(
            "damaged", "the content key that was wrapped for this node can't be opened"
        ) from error


def _kek(private: X25519PrivateKey, public: X25519PublicKey, salt: bytes, namespace: str) -> bytes:
    shared = private.exchange(public)  # raises ValueError where it is all zeros: a point of small order
    info = _CONTENT_KEY + namespace.encode()
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=salt, info=info).derive(shared)


def _decrypted(blob: bytes | memoryview, key: bytes, nonce: bytes, bound_to: bytes, what: str) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce, blob, bound_to)
    except (InvalidTag, ValueError) as error:
        raise RegistryMiss(
            "damaged", f"{what} can't be decrypted: it was changed, or is of another artifact"
        ) from error


def _compressed(content: bytes | memoryview) -> bytes:
    """What does not get smaller at its begin, middle and end, such as weights, is framed as it is."""
    if not hasattr(_THREAD, "compressors"):
        _THREAD.compressors = [zstandard.ZstdCompressor(level=level) for level in (_LEVEL, _QUICK_LEVEL)]
    usual, quick = _THREAD.compressors
    last = len(content) - _SAMPLE
    samples = (content[at : at + _SAMPLE] for at in (0, last // 2, last) if at >= 0)
    if last >= 0 and all(len(quick.compress(sample)) >= _SAMPLE for sample in samples):
        return frames.raw(content)
    frame: bytes = usual.compress(content)
    return frame


def _decompressed(frame: bytes | memoryview, length: int, what: str, *, exactly: bool = True) -> bytes:
    """Never more bytes than length, whatever the frame says of itself."""
    if not hasattr(_THREAD, "decompressor"):
        _THREAD.decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    try:
        size = zstandard.frame_content_size(frame)
        if not 0 <= size <= length or (exactly and size != length):
            raise RegistryMiss("damaged", f"{what} has another length than was signed")
        content: bytes = _THREAD.decompressor.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise RegistryMiss("damaged", f"{what} can't be decompressed") from error
    return content
