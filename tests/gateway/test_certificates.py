"""What is read from certificates: names to log in by, as RabbitMQ writes them, and refusals of the server's files."""

import ssl
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import NameAttribute as Part
from cryptography.x509.oid import NameOID, ObjectIdentifier

from core.config import TlsConfig
from gateway.certificates import distinguished_name, load, login_name
from gateway.listeners import TlsError
from tests.certificates import Authority, common_name


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


def der(pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(Path(pair.cert).read_text())


def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


NAMES = {
    "CN=client": [[("2.5.4.3", "client")]],
    "CN=c,OU=u,O=o,L=l,ST=s,C=DE": [
        [("2.5.4.6", "DE")],
        [("2.5.4.8", "s")],
        [("2.5.4.7", "l")],
        [("2.5.4.10", "o")],
        [("2.5.4.11", "u")],
        [("2.5.4.3", "c")],
    ],
    "UID=7,DC=org": [[("0.9.2342.19200300.100.1.25", "org")], [("0.9.2342.19200300.100.1.1", "7")]],
    "EMAILADDRESS=a@b": [[("1.2.840.113549.1.9.1", "a@b")]],
    "2.5.4.9=Elm Street": [[("2.5.4.9", "Elm Street")]],
    "CN=\\ a b\\ ": [[("2.5.4.3", " a b ")]],
    'CN=\\#a#\\,\\+\\"\\\\\\<\\>\\;=': [[("2.5.4.3", '#a#,+"\\<>;=')]],
    "CN=J\\C3\\BCrgen\\7E": [[("2.5.4.3", "Jürgen~")]],
    "": [],
}


@pytest.mark.parametrize("written", NAMES)
def test_a_distinguished_name_is_written_as_rabbitmq_writes_it(written):
    parts = [[Part(ObjectIdentifier(oid), value) for oid, value in rdn] for rdn in NAMES[written]]
    name = x509.Name([x509.RelativeDistinguishedName(rdn) for rdn in parts])
    assert distinguished_name(name) == written


def test_attributes_of_one_part_are_joined_by_a_plus():
    both = x509.RelativeDistinguishedName([Part(NameOID.COMMON_NAME, "a"), Part(NameOID.ORGANIZATION_NAME, "b")])
    assert distinguished_name(x509.Name([both])) == "CN=a+O=b"


SANS = [
    x509.DNSName("one.example"),
    x509.UniformResourceIdentifier("urn:me"),
    x509.DNSName("two.example"),
    x509.RFC822Name("me@example"),
    x509.IPAddress(ip_address("10.0.0.1")),
    x509.OtherName(ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x02me"),
    x509.OtherName(ObjectIdentifier("1.2.3"), b"\x0c\x81\x80" + b"m" * 128),
    x509.OtherName(ObjectIdentifier("1.2.3"), b"\x02\x01\x05"),
]


@pytest.mark.parametrize(
    ("kind", "index", "name"),
    [
        ("dns", 0, "one.example"),
        ("dns", 1, "two.example"),
        ("dns", 2, None),
        ("uri", 0, "urn:me"),
        ("email", 0, "me@example"),
        ("ip", 0, "10.0.0.1"),
    ],
)
def test_an_alternative_name_is_taken_by_type_and_index(authority, kind, index, name):
    config = TlsConfig(login_from="subject_alternative_name", login_san_type=kind, login_san_index=index)
    assert login_name(der(authority.issue("san", sans=SANS)), config) == name


@pytest.mark.parametrize(("sans", "name"), [(SANS[5:6], "me"), (SANS[6:7], "m" * 128), (SANS[7:], None), ([], None)])
def test_another_name_is_a_string_or_no_name(authority, sans, name):
    config = TlsConfig(login_from="subject_alternative_name", login_san_type="other_name")
    assert login_name(der(authority.issue("other", sans=sans)), config) == name


def test_common_names_are_joined_and_there_may_be_none(authority):
    config = TlsConfig(login_from="common_name")
    two = x509.Name([Part(NameOID.COMMON_NAME, "a"), Part(NameOID.LOCALITY_NAME, "x"), Part(NameOID.COMMON_NAME, "b")])
    assert login_name(der(authority.issue("two", two)), config) == "a,b"
    none = x509.Name([Part(NameOID.LOCALITY_NAME, "x")])
    assert login_name(der(authority.issue("none", none)), config) is None


def test_a_certificate_that_cannot_be_read_names_nobody():
    assert login_name(b"\x30\x00", TlsConfig()) is None


def test_what_is_loaded_speaks_tls_1_2_and_later_and_knows_when_it_ends(authority):
    pair = authority.issue("s", days=(-1, 10))
    identity = load(TlsConfig(cert=pair.cert, key=pair.key), context())
    assert identity.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert identity.context.verify_mode == ssl.CERT_NONE
    ends = x509.load_pem_x509_certificate(Path(pair.cert).read_bytes()).not_valid_after_utc
    assert identity.expires == ends.timestamp()


def test_a_chain_ends_with_the_first_of_its_certificates(authority, tmp_path):
    soon, late = authority.issue("soon", days=(-1, 3)), authority.issue("late", days=(-1, 30))
    both = tmp_path / "both.pem"
    both.write_text(Path(late.cert).read_text() + Path(soon.cert).read_text())
    alone = load(TlsConfig(cert=soon.cert, key=soon.key), context()).expires
    assert load(TlsConfig(cert=str(both), key=late.key), context()).expires == alone


@pytest.mark.parametrize(("verify", "mode"), [("optional", ssl.CERT_OPTIONAL), ("required", ssl.CERT_REQUIRED)])
def test_a_client_is_asked_for_a_certificate_of_the_ca(authority, verify, mode):
    pair = authority.issue("s")
    identity = load(TlsConfig(cert=pair.cert, key=pair.key, ca=authority.file, verify=verify), context())
    assert identity.context.verify_mode == mode
    assert [each["subject"] for each in identity.context.get_ca_certs()] == [((("commonName", "ca"),),)]


def refused(**config) -> str:
    with pytest.raises(TlsError) as error:
        load(TlsConfig(**config), context())
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_that_cannot_be_used_is_named_with_its_key(authority, tmp_path):
    pair, other = authority.issue("s"), authority.issue("other")
    text, missing = tmp_path / "text", tmp_path / "missing"
    text.write_text("no PEM")
    gone = "cannot be read: No such file or directory"
    assert refused(cert=str(missing), key=pair.key) == f"tls.cert: {missing}: {gone}"
    assert refused(cert=pair.cert, key=str(missing)) == f"tls.key: {missing}: {gone}"
    assert refused(**pair._asdict(), ca=str(missing)) == f"tls.ca: {missing}: {gone}"
    assert refused(cert=str(text), key=pair.key) == f"tls.cert: {text}: holds no certificate in PEM form"
    assert refused(**pair._asdict(), ca=str(text)) == f"tls.ca: {text}: holds no certificate in PEM form"
    no_key = "holds no private key in PEM form that can be used"
    assert refused(cert=pair.cert, key=str(text)) == f"tls.key: {text}: {no_key}"
    assert refused(cert=pair.cert, key=pair.cert) == f"tls.key: {pair.cert}: {no_key}"
    foreign = f"tls.key: {other.key}: is not the key of the certificate in {pair.cert}"
    assert refused(cert=pair.cert, key=other.key) == foreign


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(authority):
    pair = authority.issue("locked", passphrase=b"secret")
    expected = f"tls.key: {pair.key}: has a passphrase; write the key without one (openssl pkey -in … -out …)"
    assert refused(**pair._asdict()) == expected


def test_a_weak_certificate_is_the_certificates_fault(tmp_path):
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    authority = Authority(tmp_path)
    pair = authority.issue("weak")
    key = rsa.generate_private_key(65537, 1024)
    made = x509.load_pem_x509_certificate(Path(pair.cert).read_bytes())
    weak = (
        x509.CertificateBuilder(common_name("weak"), made.subject, key.public_key(), made.serial_number)
        .not_valid_before(made.not_valid_before_utc)
        .not_valid_after(made.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    Path(pair.cert).write_bytes(weak.public_bytes(serialization.Encoding.PEM))
    form, lock = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    Path(pair.key).write_bytes(key.private_bytes(serialization.Encoding.PEM, form, lock))
    assert refused(**pair._asdict()) == f"tls.cert: {pair.cert}: cannot be used: ee key too small"
