"""Certificates for tests, made on the spot: an authority, and what it issues."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Pair(NamedTuple):
    """Paths of a certificate and of its key, as PEM."""

    cert: str
    key: str


def common_name(text: str) -> x509.Name:
    """A subject of one part."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def write_key(path: Path, key: ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> None:
    """A private key as PEM, encrypted if there is a passphrase."""
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, lock))


class Authority:
    """A CA; `file` is its certificate."""

    def __init__(self, folder: Path, name: str = "ca"):
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = common_name(name)
        self._certificate = self._sign(self._name, self._key, (-1, 3650), None, ca=True)
        self.file = str(folder / f"{name}.pem")
        Path(self.file).write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject, key, days, sans, *, ca=False) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if sans:
            builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def issue(self, name: str, subject: x509.Name | None = None, *, sans=(), days=(-1, 30), passphrase=b"") -> Pair:
        """Write NAME.pem and NAME.key, replacing those that are there. `days`: valid from and until, from today on."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(subject or common_name(name), key, days, list(sans))
        pair = Pair(str(self._folder / f"{name}.pem"), str(self._folder / f"{name}.key"))
        Path(pair.cert).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        write_key(Path(pair.key), key, passphrase)
        return pair

    def server(self, name: str = "server", **options) -> Pair:
        """A certificate for localhost and 127.0.0.1."""
        return self.issue(name, sans=[x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))], **options)
