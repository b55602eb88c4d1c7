"""Keys, certificates and protocols as OpenSSL's command, curl and Python see them."""

import os
import ssl
import subprocess
import time

import pytest

from inferonnx.crypto import x509
from inferonnx.errors import CertificateError, UsageError
from inferonnx.server.identity import (
    CONTEXT_USES_1_2,
    TlsSettings,
    born_identity,
    given_identity,
)
from inferonnx.server.messages import Reply
from machine import tool
from serving.running import PATIENCE_S, until

TLS_1_2 = TlsSettings(is_1_2_allowed=True)


def born(settings=None, names=("localhost", "127.0.0.1")):
    return born_identity(
        names, settings=settings or TlsSettings(), now_s=int(time.time()), random=os.urandom(16)
    )


def openssl(*arguments, given=b"", check=True):
    done = subprocess.run(
        [tool("openssl"), *arguments],
        input=given,
        capture_output=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def s_client(server, *options):
    return openssl(
        "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", str(server.ca),
        "-verify_return_error", *options, check=False,
    )  # fmt: skip


P256 = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")


class Authority:
    """A CA of OpenSSL's command."""

    def __init__(self, folder, name="ca", kind=P256):
        self.folder, self.name = folder, name
        self.key, self.cert = folder / f"{name}.key", folder / f"{name}.pem"
        openssl(
            "req", "-x509", "-newkey", *kind, "-nodes", "-keyout", str(self.key),
            "-out", str(self.cert), "-subj", f"/CN={name}", "-days", "1",
        )  # fmt: skip

    def sign(self, csr, *options):
        (self.folder / "csr.pem").write_bytes(csr)
        return openssl(
            "x509", "-req", "-in", str(self.folder / "csr.pem"), "-CA", str(self.cert), "-CAkey",
            str(self.key), "-CAcreateserial", "-days", "1", "-copy_extensions", "copyall", *options,
        ).stdout  # fmt: skip

    def issue(self, name):
        """Return paths of a certificate and its key."""
        key, csr = self.folder / f"{name}.key", self.folder / f"{name}.csr"
        openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            str(key), "-out", str(csr), "-subj", f"/CN={name}",
            "-addext", "subjectAltName=DNS:localhost",
        )  # fmt: skip
        cert = self.folder / f"{name}.pem"
        cert.write_bytes(self.sign(csr.read_bytes()))
        return cert, key


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


# Protocols and ciphers.


def test_tls_1_3_is_the_default_and_1_2_is_refused(server):
    assert server.curl("/", "--tlsv1.3").returncode == 0
    assert server.curl("/", "--tlsv1.2", "--tls-max", "1.2", check=False).returncode == 35
    assert server.notes.refusals == ["no TLS handshake: UNSUPPORTED_PROTOCOL"]


def test_tls_1_2_is_taken_where_the_operator_says_so(start):
    server = start(settings=TLS_1_2)
    for options in (["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3"]):
        assert server.curl("/", *options).returncode == 0


@pytest.mark.parametrize("settings", [None, TLS_1_2])
@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_older_protocols_are_refused(start, authority, settings, version):
    done = s_client(start(settings=settings), version, "-cipher", "ALL:@SECLEVEL=0")
    assert done.returncode != 0
    assert b"Cipher is (NONE)" in done.stdout


@pytest.mark.parametrize(
    ("cipher", "is_taken"),
    [
        ("ECDHE-ECDSA-AES256-GCM-SHA384", True),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", True),
        ("ECDHE-ECDSA-AES128-SHA256", False),  # CBC
        ("ECDHE-ECDSA-AES256-SHA", False),
        ("ECDHE-ECDSA-AES128-CCM8", False),
        ("AES128-GCM-SHA256", False),  # no key of its own for the session
        ("DHE-RSA-AES256-GCM-SHA384", False),
        ("aNULL", False),
        ("eNULL", False),
    ],
)
def test_ciphers_of_tls_1_2(start, authority, cipher, is_taken):
    done = s_client(start(settings=TLS_1_2), "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
    assert (b"Cipher is (NONE)" in done.stdout) != is_taken
    assert (done.returncode == 0) == is_taken


def test_sessions_are_not_resumed(start, authority):
    server = start(settings=TLS_1_2)
    assert b"Reused" not in s_client(server, "-tls1_3", "-reconnect").stdout
    for version in ("-tls1_3", "-tls1_2"):
        assert b"session ticket" not in s_client(server, version).stdout.lower()


def test_sessions_are_not_renegotiated(start, authority):
    server = start(settings=TLS_1_2)
    command = [tool("openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as client:
        client.stdin.write(b"R\n")
        client.stdin.flush()
        _, said = client.communicate(timeout=PATIENCE_S)
    assert b"no renegotiation" in said


def test_alpn_names_http_and_nothing_else(server):
    for offered, agreed in ((["h2", "http/1.1"], "http/1.1"), (["h2"], None), ([], None)):
        context = server.context()
        if offered:
            context.set_alpn_protocols(offered)
        with context.wrap_socket(server.plain(), server_hostname="localhost") as sock:
            assert sock.selected_alpn_protocol() == agreed


def test_contexts_are_renewed_before_their_sessions_are_many():
    identity = born(TLS_1_2)
    contexts = {identity.context("http/1.1") for _ in range(2 * CONTEXT_USES_1_2)}
    assert 2 <= len(contexts) <= 3
    identity = born()
    assert len({identity.context("http/1.1") for _ in range(2 * CONTEXT_USES_1_2)}) == 1


# Certificates.


def test_the_certificate_carries_the_key_that_is_told(server, authority):
    shown = s_client(server, "-showcerts").stdout
    public = openssl("x509", "-pubkey", "-noout", given=shown).stdout
    der = openssl("pkey", "-pubin", "-outform", "DER", given=public).stdout
    told = openssl("dgst", "-sha256", "-binary", given=der).stdout
    assert told == server.identity.public_key_hash


def test_a_name_that_is_no_name_is_refused():
    with pytest.raises(UsageError):
        born(names=("not a name",))


def test_a_cas_certificate_takes_over_while_connections_live(server, authority):
    old = server.client()
    old.request("GET", "/")
    old.getresponse().read()
    chain = authority.sign(server.identity.csr()) + authority.cert.read_bytes()
    server.identity.install(chain)
    assert server.identity.certificate_pem == chain
    assert server.curl("/", "--cacert", str(authority.cert)).returncode == 0
    assert server.curl("/", check=False).returncode == 60  # the old one is not shown any more
    old.request("GET", "/")
    assert old.getresponse().status == 200
    old.close()


def test_a_certificate_for_another_key_is_refused_and_changes_nothing(server, authority):
    other = authority.sign(born().csr())
    before = server.identity.certificate_pem
    for chain in (other, b"", b"no certificate", authority.cert.read_bytes()):
        with pytest.raises(CertificateError):
            server.identity.install(chain)
    assert server.identity.certificate_pem == before
    assert server.curl("/").returncode == 0


WEAK = {
    # kind of the CA's key, how it signs: what is said
    ("rsa:1024",): "RSA key of 1024 bits",
    ("rsa-pss", "-pkeyopt", "rsa_keygen_bits:1024"): "RSA key of 1024 bits",
    ("rsa:2048", "-sha1"): r"TLS 1.3 refuses \(OID 1.2.840.113549.1.1.5\)",
    ("ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha1"): r"refuses \(OID 1.2.840.10045.4.1\)",
}


@pytest.mark.parametrize("kind", WEAK, ids=" ".join)
def test_a_chain_that_clients_refuse_changes_nothing(server, tmp_path, kind):
    """With the CA's own certificate and without it: clients that trust the CA have it."""
    before = server.identity.certificate_pem
    authority = Authority(tmp_path, kind=kind)
    leaf = authority.sign(server.identity.csr(), *kind[-1:] * (kind[-1] == "-sha1"))
    assert server.curl("/", "--cacert", str(authority.cert), check=False).returncode == 60
    for chain in (leaf, leaf + authority.cert.read_bytes()):
        with pytest.raises(CertificateError, match=WEAK[kind]):
            server.identity.install(chain)
    assert server.identity.certificate_pem == before
    assert server.curl("/").returncode == 0


@pytest.mark.parametrize(
    "kind", [("rsa:2048",), ("rsa-pss",), ("ed25519",), ("ec", "-pkeyopt", "group:P-384")], ids=str
)
def test_a_chain_that_clients_take(server, tmp_path, kind):
    authority = Authority(tmp_path, kind=kind)
    server.identity.install(authority.sign(server.identity.csr()) + authority.cert.read_bytes())
    assert server.curl("/", "--cacert", str(authority.cert)).returncode == 0


def test_how_a_root_signs_itself_is_nobodys_concern(server, tmp_path):
    authority = Authority(tmp_path, kind=("rsa:2048", "-sha1"))
    leaf = authority.sign(server.identity.csr(), "-sha256")
    server.identity.install(leaf + authority.cert.read_bytes())
    assert server.curl("/", "--cacert", str(authority.cert)).returncode == 0


def test_a_certificate_without_names_changes_nothing(server, authority):
    before = server.identity.certificate_pem
    nameless = authority.sign(server.identity.csr(), "-copy_extensions", "none")
    with pytest.raises(CertificateError, match="names no host"):
        server.identity.install(nameless)
    assert server.identity.certificate_pem == before


@pytest.mark.parametrize("days", [-3650, 36500])
def test_a_certificate_out_of_its_time_changes_nothing(server, authority, days):
    """Clients would refuse it, among them whoever would install a better one."""
    before = server.identity.certificate_pem
    chain = authority.sign(server.identity.csr())
    with pytest.raises(CertificateError, match="expired"):
        server.identity.install(chain, now_s=time.time() + days * 86400)
    assert server.identity.certificate_pem == before


def test_a_key_from_outside_serves_and_makes_no_request(start, authority, tmp_path):
    cert, key = authority.issue("given")
    identity = given_identity(cert.read_bytes(), key.read_bytes(), settings=TlsSettings())
    server = start(identity=identity)
    assert server.curl("/", "--cacert", str(authority.cert)).returncode == 0
    for ask in (identity.csr, lambda: identity.install(cert.read_bytes())):
        with pytest.raises(UsageError, match="outside"):
            ask()


def test_a_key_from_outside_must_fit_and_be_open(authority, tmp_path):
    cert, key = authority.issue("given")
    _, other = authority.issue("other")
    closed = openssl("pkey", "-aes256", "-passout", "pass:x", "-in", str(key)).stdout
    for bad in (other.read_bytes(), closed, b"", b"no key"):
        with pytest.raises(CertificateError):
            given_identity(cert.read_bytes(), bad, settings=TlsSettings())


def test_a_key_from_outside_is_refused_inside_a_tee(authority, tmp_path):
    cert, key = authority.issue("given")
    (tmp_path / "dev" / "attestation").mkdir(parents=True)
    with pytest.raises(UsageError, match="TEE"):
        given_identity(
            cert.read_bytes(), key.read_bytes(), settings=TlsSettings(), root=str(tmp_path)
        )


# Certificates of clients.


def test_clients_show_a_certificate_of_the_ca(start, authority, tmp_path):
    (tmp_path / "foreign").mkdir()
    foreign = Authority(tmp_path / "foreign", "foreign")

    async def who(_, exchange):
        return Reply(status=200, pieces=(exchange.head.peer.certificate_der,))

    server = start(
        who, settings=TlsSettings(client_ca_pem=authority.cert.read_text(), is_1_2_allowed=True)
    )
    cert, key = authority.issue("client")
    wrong_cert, wrong_key = foreign.issue("client")
    for version in (["--tlsv1.3"], ["--tls-max", "1.2"]):
        done = server.curl("/", *version, "--cert", str(cert), "--key", str(key))
        assert done.stdout == ssl.PEM_cert_to_DER_cert(cert.read_text())
        assert server.curl("/", *version, check=False).returncode != 0
        wrong = ("--cert", str(wrong_cert), "--key", str(wrong_key))
        assert server.curl("/", *version, *wrong, check=False).returncode != 0
    until(lambda: len(server.notes.refusals) == 4)
    assert {reason.split(": ")[1] for reason in server.notes.refusals} == {
        "PEER_DID_NOT_RETURN_A_CERTIFICATE",
        "CERTIFICATE_VERIFY_FAILED",
    }
    assert len(server.notes.answers) == 2


def test_a_client_ca_that_is_none_is_refused():
    for bad in ("no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"):
        with pytest.raises(CertificateError, match="client CA"):
            born(TlsSettings(client_ca_pem=bad))


def test_without_a_client_ca_nobody_is_asked(start):
    async def who(_, exchange):
        return Reply(status=200, pieces=(repr(exchange.head.peer.certificate_der).encode(),))

    assert start(who).curl("/").stdout == b"None"


def test_the_key_is_x509s_and_stays_hidden():
    identity = born()
    assert isinstance(identity._key, x509.TlsKey)
    assert "PRIVATE" not in repr(vars(identity))
