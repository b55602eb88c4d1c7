import shutil
import ssl
import subprocess

import pytest

from inferonnx.client.messages import Request
from inferonnx.client.tls import TlsSettings, make_context
from inferonnx.errors import CertificateError, UnavailableError, UsageError
from machine import tool
from scripted import Certificate, answering


def ask():
    return (yield Request(method="GET", path="/"))


def test_nothing_is_ever_taken_unchecked():
    context = make_context(TlsSettings())
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize("content", ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAA\n"])
def test_a_file_without_certificates_is_no_ca(tmp_path, content):
    (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(CertificateError, match="holds no certificate"):
        make_context(TlsSettings(ca=str(tmp_path / "ca.pem")))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        make_context(TlsSettings(ca=str(tmp_path / "none.pem")))
    with pytest.raises(UsageError, match="No such file"):
        make_context(TlsSettings(certificate=str(tmp_path / "none.pem")))


def test_a_folder_of_cas_is_taken(serve, connect, certificate, tmp_path):
    shutil.copy(certificate.ca, tmp_path / "ca.pem")
    subprocess.run([tool("openssl"), "rehash", tmp_path], check=True, capture_output=True)
    assert connect(serve(answering((200, b"yes"))), ca=tmp_path).perform(ask()).body == b"yes"


def test_a_key_alone_or_of_another_certificate_is_refused(tmp_path, certificate):
    with pytest.raises(UsageError, match="needs the certificate"):
        make_context(TlsSettings(key="some.pem"))
    other = Certificate(tmp_path / "other", "a")
    with pytest.raises(CertificateError, match="certificate and key of the client"):
        make_context(TlsSettings(certificate=str(certificate.ca), key=str(other.both)))
    with pytest.raises(CertificateError, match="certificate and key of the client"):
        make_context(TlsSettings(certificate=str(certificate.ca)))


def test_an_encrypted_key_asks_nobody(tmp_path, certificate):
    key = tmp_path / "key.pem"
    subprocess.run(
        [
            tool("openssl"),
            "pkey",
            "-in",
            certificate.both,
            "-aes256",
            "-passout",
            "pass:x",
            "-out",
            key,
        ],
        check=True,
        capture_output=True,
    )
    with pytest.raises(CertificateError, match="certificate and key of the client"):
        make_context(TlsSettings(certificate=str(certificate.ca), key=str(key)))


def test_tls_1_2_is_spoken_only_where_it_is_allowed(serve, connect):
    old = {"maximum_version": ssl.TLSVersion.TLSv1_2}
    server = serve(answering((200, b"old")), **old)
    with pytest.raises(UnavailableError, match="no TLS with"):
        connect(server).perform(ask())
    assert connect(server, tls_min="1.2").perform(ask()).body == b"old"
    with pytest.raises(UsageError, match="no version of TLS"):
        connect(server, tls_min="1.1")


def test_a_ca_signs_a_server(serve, connect, tmp_path):
    ca, leaf, request = tmp_path / "ca.pem", tmp_path / "leaf.pem", tmp_path / "leaf.csr"
    key, ca_key = tmp_path / "leaf.key", tmp_path / "ca.key"
    new = [tool("openssl"), "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def openssl(*arguments):
        subprocess.run(arguments, check=True, capture_output=True)

    openssl(*new, "-x509", "-subj", "/CN=ca", "-keyout", ca_key, "-out", ca)
    openssl(*new, "-subj", "/CN=leaf", "-keyout", key, "-out", request)
    (tmp_path / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
    signing = [tool("openssl"), "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key]
    openssl(*signing, "-extfile", tmp_path / "ext", "-out", leaf)

    class Signed(Certificate):
        def __init__(self):
            self.ca, self.both = ca, tmp_path / "both.pem"
            self.both.write_bytes(key.read_bytes() + leaf.read_bytes())

    server = serve(answering((200, b"signed")), certificate=Signed())
    assert connect(server).perform(ask()).body == b"signed"


@pytest.fixture
def picky(serve, certificate, tmp_path):
    """Return a server that takes clients with one certificate, and that certificate."""
    own = Certificate(tmp_path / "own", "client")
    server = serve(answering((200, b"known")))
    server._context.load_verify_locations(own.ca)
    server._context.verify_mode = ssl.CERT_REQUIRED
    # Ours are for servers; which ones a server takes for clients is its own matter.
    server._context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return server, own


def test_a_server_that_wants_a_certificate_gets_it(picky, connect, tmp_path):
    server, _ = picky
    client, key = tmp_path / "client.pem", tmp_path / "client.key"
    subprocess.run(
        [
            *(
                tool("openssl"),
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ),
            *("-nodes", "-subj", "/CN=client", "-keyout", key, "-out", client),
        ],
        check=True,
        capture_output=True,
    )
    server._context.load_verify_locations(client)
    assert connect(server, certificate=client, key=key).perform(ask()).body == b"known"


def test_a_server_that_wants_a_certificate_says_so(picky, connect):
    server, _ = picky
    with pytest.raises(UnavailableError, match="certificate required") as caught:
        connect(server).perform(ask())
    assert "give yours" in caught.value.hint
