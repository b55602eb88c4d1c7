"""Certificates as OpenSSL's command line and real handshakes see them."""

from __future__ import annotations

import copy
import pickle
import ssl
import subprocess
import sys
import time

import pytest
from cryptography import x509 as library
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.crypto import chains, x509
from inferonnx.errors import CertificateError, InferonnxError, UsageError
from machine import tool

NOW = 1_790_000_000
DAY = 86_400
RANDOM = bytes(range(16))
NAMES = ("models.example.org", "*.example.org", "192.0.2.7", "2001:db8::7")


@pytest.fixture(scope="module")
def key():
    return x509.TlsKey()


@pytest.fixture(scope="module")
def certificate(key):
    return made(key)


def made(key, names=NAMES, *, now_s=NOW, validity_s=90 * DAY, random=RANDOM):
    return x509.self_signed_certificate(
        key, names, now_s=now_s, validity_s=validity_s, random=random
    )


def openssl(*arguments, given=b""):
    done = subprocess.run(
        [tool("openssl"), *arguments], input=given, capture_output=True, check=True
    )
    return done.stdout


def der(pem):
    return ssl.PEM_cert_to_DER_cert(pem.decode())


def test_openssl_reads_the_certificate_as_meant(certificate):
    text = openssl("x509", "-noout", "-text", given=certificate).decode()
    for line in (
        "Version: 3",
        "Public Key Algorithm: id-ecPublicKey",
        "ASN1 OID: prime256v1",
        "Signature Algorithm: ecdsa-with-SHA256",
        "Issuer: CN = inferonnx",
        "Subject: CN = inferonnx",
        "DNS:models.example.org, DNS:*.example.org, IP Address:192.0.2.7, IP Address:2001:DB8:",
        "CA:FALSE",
        "TLS Web Server Authentication",
    ):
        assert line in text
    serial = openssl("x509", "-noout", "-serial", given=certificate).decode().strip()
    assert serial == "serial=01" + RANDOM.hex().upper()


def test_openssl_sees_the_validity(certificate):
    out = openssl("x509", "-noout", "-startdate", "-enddate", given=certificate).decode()
    begin, end = (line.partition("=")[2] for line in out.splitlines())
    assert ssl.cert_time_to_seconds(begin) == NOW - x509.BACKDATED_S
    assert ssl.cert_time_to_seconds(end) == NOW + 90 * DAY


def test_openssl_hashes_the_same_public_key(key, certificate):
    info = openssl("x509", "-noout", "-pubkey", given=certificate)
    digest = openssl("pkey", "-pubin", "-outform", "der", given=info)
    hashed = openssl("dgst", "-sha256", "-binary", given=digest)
    assert hashed == key.public_key_hash == x509.certificate_key_hash(der(certificate))


def test_openssl_verifies_it_strictly(certificate, tmp_path):
    path = tmp_path / "c.pem"
    path.write_bytes(certificate)
    at = ("-attime", str(NOW), "-x509_strict", "-check_ss_sig", "-purpose", "sslserver")
    for name in ("models.example.org", "a.example.org"):
        openssl("verify", *at, "-verify_hostname", name, "-CAfile", str(path), str(path))
    openssl("verify", *at, "-verify_ip", "2001:db8::7", "-CAfile", str(path), str(path))
    with pytest.raises(subprocess.CalledProcessError):
        openssl("verify", *at, "-verify_hostname", "a.b", "-CAfile", str(path), str(path))


def test_openssl_verifies_the_signing_request(key):
    request = x509.signing_request(key, NAMES)
    text = openssl("req", "-noout", "-text", "-verify", given=request).decode()
    assert "Subject: CN = models.example.org" in text
    assert "DNS:models.example.org, DNS:*.example.org, IP Address:192.0.2.7" in text
    info = openssl("req", "-noout", "-pubkey", given=request)
    assert info == openssl("pkey", "-pubout", given=bytes(key.pem()))


def test_a_ca_made_by_openssl_signs_the_request(key, tmp_path):
    ca, ca_key, request = (str(tmp_path / name) for name in ("ca.pem", "ca.key", "r.pem"))
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes",
            "-subj", "/CN=test CA", "-keyout", ca_key, "-out", ca)  # fmt: skip
    (tmp_path / "r.pem").write_bytes(x509.signing_request(key, NAMES))
    leaf = openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key,
                   "-copy_extensions", "copy", "-days", "9")  # fmt: skip
    chain = leaf + (tmp_path / "ca.pem").read_bytes()
    assert x509.leaf_matches(chain, key)
    assert not x509.leaf_matches(chain, x509.TlsKey())
    assert not x509.leaf_matches((tmp_path / "ca.pem").read_bytes() + leaf, key)
    assert len(x509.parse_chain(chain)) == 2


def test_a_common_name_is_never_too_long(key):
    long = "a." * 40 + "example.org"
    for names, common in (([long], "inferonnx"), ([long, "B.example.org"], "b.example.org")):
        request = library.load_pem_x509_csr(x509.signing_request(key, names))
        assert request.subject.rfc4514_string() == f"CN={common}"


@pytest.mark.parametrize("strict", [False, True])
def test_a_handshake_with_the_certificate_as_only_trusted_one(key, tmp_path, strict):
    certificate = made(key, ("localhost",), now_s=int(time.time()))
    (tmp_path / "c.pem").write_bytes(certificate)
    (tmp_path / "k.pem").write_bytes(key.pem())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
    client = ssl.create_default_context(cadata=certificate.decode())
    if strict:
        client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    assert shaken(client, server, "localhost") == der(certificate)
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(client, server, "example.org")


def shaken(client, server, name):
    """Return the server's certificate after a handshake in memory."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname=name),
        server.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[0].getpeercert(binary_form=True)


def test_pem_of_the_key_can_be_wiped_and_read(key):
    pem = key.pem()
    assert isinstance(pem, bytearray)
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    loaded = load_pem_private_key(bytes(pem), None)
    assert isinstance(loaded.curve, ec.SECP256R1)
    assert key.pem() == pem


def test_the_library_s_own_copy_of_the_key_is_overwritten(key, monkeypatch):
    held = []

    class Watched:
        def private_bytes(self, *arguments):
            held.append(key._key.private_bytes(*arguments))
            return held[0]

    watched = x509.TlsKey()
    watched._key = Watched()
    pem = watched.pem()
    assert pem == key.pem()
    assert held[0] == bytes(len(pem))


def test_a_key_is_neither_shown_nor_copied(key):
    shown = f"{key!r} {key}"
    assert key.public_key_hash.hex() in shown
    body = bytes(key.pem()).splitlines()[1:-1]
    assert all(line.decode() not in shown for line in body)
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never pickled"):
            act(key)


def test_every_key_and_serial_is_its_own(key):
    assert x509.TlsKey().public_key_hash != key.public_key_hash
    serials = {
        library.load_pem_x509_certificate(made(key, random=bytes([i] * 16))).serial_number
        for i in (0, 1, 255)
    }
    assert len(serials) == 3
    assert all(0 < serial < 1 << 159 for serial in serials)
    with pytest.raises(ValueError, match="16 random bytes"):
        made(key, random=bytes(15))


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Models.Example.ORG", "models.example.org"),
        ("models.example.org.", "models.example.org"),
        ("localhost", "localhost"),
        ("*.example.org", "*.example.org"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a" * 63 + ".b", "a" * 63 + ".b"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8::7", "2001:db8::7"),
        ("[::1]", "::1"),
    ],
)
def test_names_are_written_one_way(name, written):
    assert x509.check_server_name(name) == written
    assert x509.check_server_name(written) == written


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "*", "*.", "a..b", "-a.b", "a-.b", "a_b", "a b", "bücher.example", "a\0b"),
        *(
            "a" * 64,
            "a." * 127 + "b",
            "a.*.b",
            "*a.b",
            "1.2.3.400",
            "127.1",
            "1",
            "[::1",
            "::1]",
            "[]",
            "::1%lo",
        ),
        *("https://a.b", "a:443", "a/b", "a.b\n"),
    ],
)
def test_other_names_are_refused(key, name):
    with pytest.raises(UsageError, match="neither a host name nor an IP address"):
        made(key, ("localhost", name))


def test_names_of_one_meaning_stand_once(key):
    found = library.load_pem_x509_certificate(made(key, ("A.b", "a.B.", "::1", "[0::1]")))
    names = found.extensions.get_extension_for_class(library.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["a.b", "::1"]


@pytest.mark.parametrize("n", [0, 101])
def test_no_names_and_too_many_are_refused(key, n):
    with pytest.raises(UsageError, match="1 to 100 names"):
        made(key, [f"a{i}" for i in range(n)])
    with pytest.raises(UsageError, match="1 to 100 names"):
        x509.signing_request(key, [f"a{i}" for i in range(n)])


@pytest.mark.parametrize(
    ("now_s", "validity_s"), [(NOW, 10**12), (NOW, 10**30), (-(10**9), DAY), (NOW, -NOW * 99)]
)
def test_dates_that_can_not_be_said_are_refused(key, now_s, validity_s):
    with pytest.raises(UsageError, match="the certificate would"):
        made(key, now_s=now_s, validity_s=validity_s)


def signed(private, public=None):
    """A certificate of any kind of key, as another CA would make it."""
    name = library.Name([])
    builder = library.CertificateBuilder(
        name, name, public or private.public_key(), 7, x509._date(NOW), x509._date(NOW + DAY)
    )
    digest = None if isinstance(private, ed25519.Ed25519PrivateKey) else SHA256()
    return builder.sign(private, digest)


@pytest.mark.parametrize(
    "private",
    [
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
    ],
    ids=["ed25519", "rsa", "p-384"],
)
def test_keys_of_other_kinds_are_hashed_as_openssl_does(private):
    certificate = signed(private).public_bytes(x509.Encoding.DER)
    info = openssl("x509", "-inform", "der", "-noout", "-pubkey", given=certificate)
    encoded = openssl("pkey", "-pubin", "-outform", "der", given=info)
    hashed = openssl("dgst", "-sha256", "-binary", given=encoded)
    assert x509.certificate_key_hash(certificate) == hashed


def test_a_key_in_compressed_form_is_refused(tmp_path):  # O-03
    path = str(tmp_path / "k.pem")
    new = openssl("genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    openssl("ec", "-conv_form", "compressed", "-out", path, given=new)
    made = openssl("req", "-x509", "-key", path, "-subj", "/CN=a", "-outform", "der")
    with pytest.raises(CertificateError, match="unusual form"):
        x509.certificate_key_hash(made)


def test_a_private_key_in_a_chain_is_refused(key, certificate):
    with pytest.raises(CertificateError, match="private key stands among") as caught:
        x509.parse_chain(certificate + bytes(key.pem()))
    assert "Leave it out" in caught.value.hint


def test_chains_too_long_and_none_are_refused(certificate):
    for pem in (b"", b"nothing", certificate[:-40], b"\n" * (1 << 16) + certificate):
        with pytest.raises(CertificateError):
            x509.parse_chain(pem)
    assert len(x509.parse_chain(certificate * 16)) == 16
    with pytest.raises(CertificateError, match="17 certificates"):
        x509.parse_chain(certificate * 17)


@given(st.binary(max_size=300))
def test_bytes_are_no_certificate_or_chain(data):
    for act in (x509.certificate_key_hash, x509.parse_chain):
        with pytest.raises(CertificateError):
            act(data)


@given(st.integers(0, 10**6), st.integers(0, 7), st.booleans())
def test_a_damaged_certificate_raises_nothing_but_our_errors(place, bit, pem):
    key = x509.TlsKey()
    data = bytearray(made(key) if pem else der(made(key)))
    data[place % len(data)] ^= 1 << bit
    try:
        if pem:
            x509.leaf_matches(bytes(data), key)
            chains.check_for_clients(bytes(data), NOW)
        else:
            x509.certificate_key_hash(bytes(data))
    except CertificateError:
        pass


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_refused(text):
    try:
        written = x509.check_server_name(text)
    except InferonnxError:
        return
    assert x509.check_server_name(written) == written
    assert written.isascii()


def test_the_door_of_crypto_does_not_load_it():
    code = "import sys, inferonnx.crypto; sys.exit('cryptography.x509' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
