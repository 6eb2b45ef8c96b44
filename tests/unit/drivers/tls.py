"""Servers with certificates of every kind, on free ports."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from socket import create_server, socket

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from metier.drivers.certificate import Server

HOUR = timedelta(hours=1)
YEAR = timedelta(days=365)
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Authority:
    """What signs certificates; its own is in `pem`."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def an_authority() -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Test authority")
    now = datetime.now(UTC)
    builder = _builder(name, name, key, now - YEAR, now + YEAR)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = builder.add_extension(usage, critical=True)
    return Authority(key, builder.sign(key, hashes.SHA256()))


def paper(
    folder: Path,
    signer: Authority | None = None,
    *,
    begins: timedelta = -HOUR,
    ends: timedelta = YEAR,
    host: str = "127.0.0.1",
    name: str = "esx-1",
) -> Path:
    """Write a certificate and its key as PEM; self-signed without a signer."""
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = _name(name), datetime.now(UTC)
    issuer = signer.certificate.subject if signer else subject
    builder = _builder(subject, issuer, key, now + begins, now + ends)
    where = x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
    builder = builder.add_extension(x509.SubjectAlternativeName([where]), critical=False)
    above = signer.key.public_key() if signer else key.public_key()
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(above)
    builder = builder.add_extension(identifier, critical=False)
    made = builder.sign(signer.key if signer else key, hashes.SHA256())
    file = folder / f"{name}.pem"
    own = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(own + made.public_bytes(serialization.Encoding.PEM))
    return file


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(begins).not_valid_after(ends)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return builder.add_extension(identifier, critical=False)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that shows a certificate; `said` is what was said to it after the handshakes."""

    server: Server
    said: list[bytes]


@contextmanager
def serving(file: Path) -> Iterator[Running]:
    """Show a certificate to whoever connects, and listen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    said: list[bytes] = []
    listening = create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    thread = threading.Thread(target=_serve, args=(listening, context, said))
    thread.start()
    try:
        yield Running(Server("127.0.0.1", port, f"https://127.0.0.1:{port}/sdk"), said)
    finally:
        with suppress(OSError):
            listening.shutdown(2)
        listening.close()
        thread.join(TIMEOUT_S)


def _serve(listening: socket, context: ssl.SSLContext, said: list[bytes]) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            connection.settimeout(TIMEOUT_S)
            with context.wrap_socket(connection, server_side=True) as wrapped:
                said.append(wrapped.recv(100))
