"""The identity of a ConfigMap's, Secret's or projected volume's files: a digest of names, modes and bytes.

Pure: the caller reads the files. Such a volume is a directory of symbolic links into `..data`, a link to a
directory called by its time: the caller follows the links and leaves names that begin with ".." out.

A rotating token is noise, recognised by value: a JSON Web Token with an expiry date. It counts as its issuer,
subject and audience, so that a rotated token is the same, and one of another service account is not.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable

LIMIT = 1 << 20  # bytes in all; what the API server lets a ConfigMap or Secret contain (1 MiB)

RECOGNISED = 64 << 10  # bytes of a file in which noise is looked for; annotations may be as long


def digest(files: Iterable[tuple[str, int, bytes]], recognise: Callable[[str], str] | None = None) -> str:
    """The digest of (path below the volume, permission bits, bytes), in any order: 64 hexadecimal digits.

    `recognise` (of `noise.metadata`) turns what is a fact of the sandbox into its placeholder: downward API volumes
    contain the pod's name, uid, labels and annotations. The digest is unkeyed: the key hashes it
    again with the node's salt, and it must not be written down elsewhere.
    """
    total = hashlib.blake2b(digest_size=32)
    for path, mode, data in sorted(files):
        head = json.dumps([path, mode & 0o7777]).encode()
        body = hashlib.blake2b(_without_noise(data, recognise), digest_size=32).digest()
        total.update(hashlib.blake2b(head, digest_size=32).digest() + body)
    return total.hexdigest()


def service_account(token: bytes) -> str | None:
    """The name of the account that a token is of, without its namespace; None for what is no account's token.

    Its subject is "system:serviceaccount:NAMESPACE:NAME" (Kubernetes, "Managing Service Accounts").
    """
    claims = _token_claims(token)
    subject = json.loads(claims)[1] if claims is not None else None
    parts = subject.split(":") if isinstance(subject, str) else []
    return parts[3] or None if parts[:2] == ["system", "serviceaccount"] and len(parts) == 4 else None


def account_uid(token: bytes) -> str:
    """The uid of the service account that a bound token is of; "" where the token does not say it (rule 7.2).

    Claim kubernetes.io.serviceaccount.uid (Kubernetes, "Bound service account tokens"): made again under the same
    name in a namespace made again, an account has another.
    """
    parts = token.strip().split(b".")
    claims = _decoded(parts[1]) if len(parts) == 3 else None
    node: object = claims
    for name in ("kubernetes.io", "serviceaccount", "uid"):
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, str) else ""


def _without_noise(data: bytes, recognise: Callable[[str], str] | None) -> bytes:
    token = _token_claims(data)
    if token is not None:
        return b"\0token" + token
    if recognise is None or len(data) > RECOGNISED:
        return data
    try:
        return recognise(data.decode()).encode()
    except UnicodeDecodeError:
        return data


def _token_claims(data: bytes) -> bytes | None:
    """Issuer, subject and audience of a JSON Web Token that expires (RFC 7519); None for anything else."""
    parts = data.strip().split(b".")
    if len(parts) != 3:
        return None
    head, claims = _decoded(parts[0]), _decoded(parts[1])
    if head is None or claims is None or "alg" not in head or not isinstance(claims.get("exp"), int | float):
        return None
    return json.dumps([claims.get(name) for name in ("iss", "sub", "aud")], sort_keys=True).encode()


def _decoded(part: bytes) -> dict[str, object] | None:
    try:
        found = json.loads(base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
