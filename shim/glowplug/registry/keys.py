"""The keys that the configuration names, read from their files: PEM, as openssl and cosign write it."""

from collections.abc import Callable
from typing import TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from glowplug.errors import UsageError
from glowplug.registry.fleet import private_file
from glowplug.registry.settings import Paths, RegistrySettings
from glowplug.registry.signature import PrivateKey, PublicKey

Key = TypeVar("Key")


_SIGNING: tuple[type[PrivateKey], ...] = (EllipticCurvePrivateKey, Ed25519PrivateKey)
_VERIFYING: tuple[type[PublicKey], ...] = (EllipticCurvePublicKey, Ed25519PublicKey)


def signing(settings: RegistrySettings) -> PrivateKey:
    """The key that signs what is pushed. Raises UsageError."""
    if not settings.sign_key:
        raise UsageError("registry.sign_key is not set: no node accepts an unsigned checkpoint")
    return _of_kind(_SIGNING, _private, settings.sign_key)


def trusted(settings: RegistrySettings, namespace: str) -> list[PublicKey]:
    """Whose signatures count for a namespace. Raises UsageError; none is an error, too."""
    found = [_of_kind(_VERIFYING, _public, path) for path in _paths(settings.trust, namespace)]
    if not found:
        raise UsageError(f"registry.trust names no key for namespace {namespace}: nothing is accepted")
    return found


def recipients(settings: RegistrySettings, namespace: str) -> list[X25519PublicKey]:
    """Who may read what is pushed of a namespace. Raises UsageError; none is an error, too."""
    found = [_of_kind((X25519PublicKey,), _public, path) for path in _paths(settings.recipients, namespace)]
    if not found:
        raise UsageError(
            f"registry.recipients names no key for namespace {namespace}, so no node could read it; "
            "--plain pushes the memory of the process unencrypted"
        )
    return found


def identities(settings: RegistrySettings, namespace: str) -> list[X25519PrivateKey]:
    """What reads what is pulled of a namespace. Raises UsageError."""
    return [_of_kind((X25519PrivateKey,), _private, path) for path in _paths(settings.identities, namespace)]


def _of_kind(kinds: tuple[type[Key], ...], load: Callable[[str], object], path: str) -> Key:
    """The key of a file. Raises UsageError unless it is of one of these kinds."""
    found = load(path)
    if not isinstance(found, kinds):
        expected = (
            "an X25519 key" if kinds[0] in (X25519PrivateKey, X25519PublicKey) else "an ECDSA or Ed25519 key"
        )
        raise UsageError(f"{path}: expected {expected}, got another kind")
    return found


def _paths(table: Paths, namespace: str) -> list[str]:
    listed = table.get(namespace, table.get("*", ()))
    return [path.replace("{namespace}", namespace) for path in listed]


def _private(path: str) -> object:
    try:
        return serialization.load_pem_private_key(private_file(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UsageError(f"{path}: not a private key in PEM without a password") from None


def _public(path: str) -> object:
    try:
        with open(path, "rb") as file:
            return serialization.load_pem_public_key(file.read(1 << 16))
    except OSError as error:
        raise UsageError(f"{path}: it can't be read: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"{path}: not a public key in PEM") from None
