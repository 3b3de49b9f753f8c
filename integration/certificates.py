"""Keys and certificates, made for each run: an authority, what it issues, keys to sign with and X25519 keys."""

import datetime
import ipaddress
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


class Authority:
    """A certificate authority in a directory: `ca.pem`, and what it has made of them."""

    def __init__(self, directory: str, name: str = "test authority") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(self._name, self._key.public_key(), is_ca=True)
        self.ca = _written(f"{directory}/ca.pem", _pem(self.certificate))

    def issue(self, name: str) -> tuple[str, str]:
        """A certificate for 127.0.0.1 and localhost, and its key: two files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._signed(subject, key.public_key(), is_ca=False)
        return (
            _written(f"{self._directory}/{name}.pem", _pem(made) + _pem(self.certificate)),
            _written(f"{self._directory}/{name}.key", private_pem(key)),
        )

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, is_ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )
        if not is_ca:
            alternatives = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def signing_pair(directory: str, name: str) -> tuple[str, str]:
    """NAME.key and NAME.pub, ECDSA P-256, as `cosign` and openssl write them."""
    return _pair(directory, name, ec.generate_private_key(ec.SECP256R1()))


def recipient_pair(directory: str, name: str) -> tuple[str, str]:
    """NAME.key and NAME.pub, X25519."""
    return _pair(directory, name, x25519.X25519PrivateKey.generate())


def private_pem(key: ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey) -> bytes:
    """PKCS8 without a password."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _pair(
    directory: str, name: str, key: ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey
) -> tuple[str, str]:
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return _written(f"{directory}/{name}.key", private_pem(key)), _written(f"{directory}/{name}.pub", public)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _written(path: str, content: bytes) -> str:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    return path
