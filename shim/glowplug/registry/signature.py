"""Signatures in the form of cosign: a "simple signing" payload that names a manifest's digest. No I/O.

`cosign verify --key` accepts what `sign` makes, and `verify` what `cosign sign --key` makes (ECDSA P-256, Ed25519).
A tag is not signed; it follows from what is (names.host_tag), so a manifest under another tag shows.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from glowplug.errors import RegistryMiss

PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey
PublicKey = EllipticCurvePublicKey | Ed25519PublicKey

_TYPE = "cosign container image signature"


def payload(repository: str, manifest_digest: str, said: Mapping[str, str]) -> bytes:
    """What is signed. `said`: what the signature says besides, for `cosign verify --annotations`."""
    plain = {
        "critical": {
            "identity": {"docker-reference": repository},
            "image": {"docker-manifest-digest": manifest_digest},
            "type": _TYPE,
        },
        "optional": dict(said),
    }
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def sign(signed: bytes, key: PrivateKey) -> str:
    """The signature of a payload, in base64."""
    if isinstance(key, Ed25519PrivateKey):
        return base64.b64encode(key.sign(signed)).decode()
    return base64.b64encode(key.sign(signed, ECDSA(hashes.SHA256()))).decode()


def require(manifest_digest: str, found: Iterable[tuple[bytes, str]], trusted: Iterable[PublicKey]) -> None:
    """Raises RegistryMiss unless one of the (payload, signature) is of this manifest and by one of the keys."""
    keys = list(trusted)
    listed = list(found)
    if not listed:
        raise RegistryMiss("unsigned", f"{manifest_digest} has no signature")
    valid = [signed for signed, signature in listed if any(_is_by(key, signed, signature) for key in keys)]
    if not valid:
        raise RegistryMiss(
            "wrong-signature", f"{manifest_digest} is signed, but by none of the {len(keys)} trusted keys"
        )
    if not any(_names(signed, manifest_digest) for signed in valid):
        raise RegistryMiss("other-signature", f"the signature beside {manifest_digest} is another manifest's")


def _is_by(key: PublicKey, signed: bytes, signature: str) -> bool:
    try:
        raw = base64.b64decode(signature, validate=True)
        if isinstance(key, Ed25519PublicKey):
            key.verify(raw, signed)
        else:
            key.verify(raw, signed, ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _names(signed: bytes, manifest_digest: str) -> bool:
    try:
        plain = json.loads(signed)
        critical = plain["critical"]
        return bool(
            critical["image"]["docker-manifest-digest"] == manifest_digest and critical["type"] == _TYPE
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
