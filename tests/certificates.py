"""Certificates for servers on loopback, from authorities that nobody but a test believes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


class Authority:
    """One authority, with its own certificate in `ca_file`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = _name_of(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _begin(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, SHA256())
        )
        self.ca_file = folder / f"{name}.pem"
        self.ca_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        self.ca_file.chmod(0o644)

    def issue(self, *hosts: str) -> Path:
        """Vouch for hosts (names or addresses): a file with the private key and, after it, the certificate.

        Every account of this machine may read it, whichever a server runs as.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _begin(_name_of(hosts[0]), self._name, key)
            .add_extension(x509.SubjectAlternativeName([_read_host(host) for host in hosts]), critical=False)
            .sign(self._key, SHA256())
        )
        file = self._folder / f"{hosts[0]}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        file.chmod(0o644)
        return file


def _begin(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )


def _name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _read_host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
