"""Certificates: the server's own, loaded from files, and the name by which a client's one logs its owner in.

Names are RabbitMQ's (rabbit_cert_info), so that the users of its EXTERNAL mechanism keep theirs.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cryptography import x509
from cryptography.x509 import Certificate, Name

from core.config import TlsConfig
from gateway.listeners import TlsError

# RabbitMQ's attribute names; any other attribute goes by its number, streetAddress among them.
ATTRIBUTES = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "SERIALNUMBER",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "TITLE",
    "2.5.4.42": "GIVENNAME",
    "2.5.4.43": "INITIALS",
    "2.5.4.44": "GENERATIONQUALIFIER",
    "2.5.4.65": "PSEUDONYM",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "EMAILADDRESS",
}
COMMON_NAME = "2.5.4.3"
ESCAPED = b'"+,;<>\\'
# DER strings that an otherName may hold: tag -> encoding (X.680); RabbitMQ reads these, by its DirectoryString
STRINGS = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}
OF_THE_CERTIFICATE = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")  # OpenSSL: too weak to be shown


class Identity(NamedTuple):
    """What the server shows: the context for new connections, and when its first certificate ends (Unix time, s)."""

    context: ssl.SSLContext
    expires: float


class TlsPeer(NamedTuple):
    """The other end of a TLS connection, as its protocol may want to know it.

    version     "TLSv1.3"
    cipher      "TLS_AES_256_GCM_SHA384"
    external    clients are asked for certificates, so that SASL EXTERNAL makes sense
    login_name  the user that its certificate names; None without a certificate, or such a name in it
    """

    version: str
    cipher: str
    external: bool
    login_name: str | None


def load(config: TlsConfig, context: ssl.SSLContext) -> Identity:
    """Fill a new server-side `context` from the files of `tls.*`. Raises TlsError; reads files, so not on the loop."""
    chain = _certificates("tls.cert", config.cert)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load_chain(config, context)
    if config.ca:
        _certificates("tls.ca", config.ca)
        try:
            context.load_verify_locations(config.ca)
        except (OSError, ssl.SSLError) as error:
            raise TlsError(f"tls.ca: {config.ca}: cannot be used: {reason(error)}") from None
    modes = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
    context.verify_mode = modes[config.verify]
    return Identity(context, min(each.not_valid_after_utc.timestamp() for each in chain))


def _read(key: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise TlsError(f"{key}: {path}: cannot be read: {error.strerror}") from None


def _certificates(key: str, path: str) -> list[Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(key, path))
    except ValueError:
        raise TlsError(f"{key}: {path}: holds no certificate in PEM form") from None


def _load_chain(config: TlsConfig, context: ssl.SSLContext) -> None:
    """The certificate and its key, which must belong together."""
    _read("tls.key", config.key)
    asked = False

    def passphrase() -> str:  # else OpenSSL would ask on the terminal
        nonlocal asked
        asked = True
        return "-"

    try:
        context.load_cert_chain(config.cert, config.key, passphrase)
    except (OSError, ssl.SSLError) as error:
        code = getattr(error, "reason", None)
        if asked:
            text = "has a passphrase; write the key without one (openssl pkey -in … -out …)"
        elif code == "KEY_VALUES_MISMATCH":
            text = f"is not the key of the certificate in {config.cert}"
        elif code in OF_THE_CERTIFICATE:
            raise TlsError(f"tls.cert: {config.cert}: cannot be used: {reason(error)}") from None
        else:
            text = "holds no private key in PEM form that can be used"
        raise TlsError(f"tls.key: {config.key}: {text}") from None


def reason(error: Exception) -> str:
    """Why TLS failed, in a few words without the place in OpenSSL's source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    if isinstance(error, ConnectionResetError):
        return "the peer closed the connection"
    return str(error) or type(error).__name__


def peer(connected: ssl.SSLObject, config: TlsConfig) -> TlsPeer:
    """Describe the other end of a connection after its handshake."""
    data = connected.getpeercert(binary_form=True)  # OpenSSL has verified it, or there would be none
    name = login_name(data, config) if data else None
    cipher = connected.cipher()
    return TlsPeer(connected.version() or "", cipher[0] if cipher else "", config.verify != "none", name)


def login_name(data: bytes, config: TlsConfig) -> str | None:
    """The user that a client's certificate (DER) names, by `tls.login_from`; None if that is not in it."""
    try:
        certificate = x509.load_der_x509_certificate(data)
        if config.login_from == "distinguished_name":
            return distinguished_name(certificate.subject)
        if config.login_from == "common_name":
            found = [_text(item.value) for item in certificate.subject if item.oid.dotted_string == COMMON_NAME]
            return ",".join(found) or None
        names = _alternative_names(certificate, config.login_san_type)
        return names[config.login_san_index] if config.login_san_index < len(names) else None
    except ValueError:  # OpenSSL has taken it; what is looked for cannot be decoded
        return None


def distinguished_name(name: Name) -> str:
    """A name as RFC 4514 writes it, with RabbitMQ's attribute names and escapes: the last part comes first."""
    parts = []
    for rdn in name.rdns:
        texts = []
        for item in rdn:
            number = item.oid.dotted_string
            texts.append(f"{ATTRIBUTES.get(number, number)}={_escape(_text(item.value))}")
        parts.append("+".join(texts))
    return ",".join(reversed(parts))


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _escape(value: str) -> str:
    """RabbitMQ's escapes: what RFC 4514 asks for, and every octet of the UTF-8 form that is not printable ASCII."""
    data = value.encode()
    escaped = []
    for at, octet in enumerate(data):
        last = at == len(data) - 1
        if octet in ESCAPED or (at == 0 and octet in b" #") or (last and octet == 0x20):
            escaped.append("\\" + chr(octet))
        elif octet < 32 or octet >= 126:
            escaped.append(f"\\{octet:02X}")
        else:
            escaped.append(chr(octet))
    return "".join(escaped)


def _alternative_names(certificate: Certificate, kind: str) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(OF_KIND[kind](names))


def _other_names(names: x509.SubjectAlternativeName) -> Iterable[str]:
    return (_der_string(name.value) for name in names if isinstance(name, x509.OtherName))


def _der_string(data: bytes) -> str:
    """The text of a DER string. Raises ValueError if it is none of STRINGS."""
    size, start = data[1] if len(data) > 1 else 0, 2
    if size & 0x80:  # the long form: so many octets hold the size
        start += size & 0x7F
        size = int.from_bytes(data[2:start])
    if not data or data[0] not in STRINGS or len(data) != start + size:
        raise ValueError("not a string")
    return data[start:].decode(STRINGS[data[0]])


OF_KIND: dict[str, Callable[[x509.SubjectAlternativeName], Iterable[str]]] = {
    "dns": lambda names: names.get_values_for_type(x509.DNSName),
    "ip": lambda names: map(str, names.get_values_for_type(x509.IPAddress)),
    "email": lambda names: names.get_values_for_type(x509.RFC822Name),
    "uri": lambda names: names.get_values_for_type(x509.UniformResourceIdentifier),
    "other_name": _other_names,
}
