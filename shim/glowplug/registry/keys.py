"""The keys that the configuration names, read from their files: PEM, as openssl and cosign write it."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from glowplug.errors import UsageError
from glowplug.registry.fleet import private_file
from glowplug.registry.settings import Paths, RegistrySettings
from glowplug.registry.signature import PrivateKey, PublicKey


def signing(settings: RegistrySettings) -> PrivateKey:
    """The key that signs what is pushed. Raises UsageError."""
    if not settings.sign_key:
        raise UsageError("registry.sign_key is not set: what nobody signed no node takes in")
    found = _private(settings.sign_key)
    if not isinstance(found, EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise UsageError(f"{settings.sign_key}: expected an ECDSA or Ed25519 key, got another kind")
    return found


def trusted(settings: RegistrySettings, namespace: str) -> list[PublicKey]:
    """Whose signatures count for a namespace. Raises UsageError; none is an error, too."""
    found = []
    for path in _paths(settings.trust, namespace):
        key = _public(path)
        if not isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey):
            raise UsageError(f"{path}: expected an ECDSA or Ed25519 key, got another kind")
        found.append(key)
    if not found:
        raise UsageError(f"registry.trust names no key for namespace {namespace}: nothing is taken in")
    return found


def recipients(settings: RegistrySettings, namespace: str) -> list[X25519PublicKey]:
    """Who may read what is pushed of a namespace. Raises UsageError; none is an error, too."""
    found = []
    for path in _paths(settings.recipients, namespace):
        key = _public(path)
        if not isinstance(key, X25519PublicKey):
            raise UsageError(f"{path}: expected an X25519 key, got another kind")
        found.append(key)
    if not found:
        raise UsageError(
            f"registry.recipients names no key for namespace {namespace}: nobody could read it; "
            "--plain pushes the memory of the process as anybody can read it"
        )
    return found


def identities(settings: RegistrySettings, namespace: str) -> list[X25519PrivateKey]:
    """What reads what is pulled of a namespace. Raises UsageError."""
    found = []
    for path in _paths(settings.identities, namespace):
        key = _private(path)
        if not isinstance(key, X25519PrivateKey):
            raise UsageError(f"{path}: expected an X25519 key, got another kind")
        found.append(key)
    return found


def _paths(table: Paths, namespace: str) -> list[str]:
    listed = table.get(namespace, table.get("*", ()))
    return [path.replace("{namespace}", namespace) for path in listed]


def _private(path: str) -> object:
    try:
        return serialization.load_pem_private_key(private_file(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UsageError(f"{path}: expected a private key in PEM without a password") from None


def _public(path: str) -> object:
    try:
        with open(path, "rb") as file:
            return serialization.load_pem_public_key(file.read(1 << 16))
    except OSError as error:
        raise UsageError(f"{path}: it can't be read: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"{path}: expected a public key in PEM") from None
