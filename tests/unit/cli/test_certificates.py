"""A CA of openssl's signs what `csr` gives, and `install-cert` brings it in."""

import subprocess

import pytest

import inferonnx
from inferonnx.cli import main
from served import Served


@pytest.fixture
def own(key_path, tmp_path):
    """A server of this test's own: its certificate changes."""
    folder = tmp_path / "own"
    folder.mkdir()
    server = Served(folder, inferonnx.Key.load(key_path).public_key)
    yield server
    assert server.end() == 0


@pytest.fixture
def ca(tmp_path):
    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-subj", "/CN=a CA", "-keyout", tmp_path / "ca.key", "-out", tmp_path / "ca.pem"),
    )

    def sign(request, certificate):
        openssl(
            *("x509", "-req", "-in", request, "-CA", tmp_path / "ca.pem"),
            *("-CAkey", tmp_path / "ca.key", "-copy_extensions", "copy", "-out", certificate),
        )

    return tmp_path / "ca.pem", sign


def test_a_ca_signs_the_live_key(own, ca, tmp_path, capsys):
    manage = ["--token-file", str(own.tokens["manage"])]
    assert main(["csr", own.url, *own.trust, *manage, "-o", str(tmp_path / "s.csr")]) == 0
    assert main(["csr", own.url, *own.trust, *manage]) == 0
    assert capsys.readouterr().out.startswith("-----BEGIN CERTIFICATE REQUEST-----")
    pem, sign = ca
    sign(tmp_path / "s.csr", tmp_path / "s.pem")
    by_ca = ["--ca", str(pem), "--insecure-no-attestation", *manage]
    assert main(["list", own.url, *by_ca]) == 3
    install = ["install-cert", own.url, str(tmp_path / "s.pem"), *manage]
    assert main([*install, *own.trust]) == 0
    assert main(["list", own.url, *by_ca]) == 0
    capsys.readouterr()
    assert main(["list", own.url, *own.trust, *manage]) == 3  # the old one is not shown any more


def test_a_certificate_for_another_key_is_refused(served, ca, capsys):
    pem, _ = ca
    manage = ["--token-file", str(served.tokens["manage"])]
    assert main(["install-cert", served.url, str(pem), *served.trust, *manage]) == 2
    assert "another key" in capsys.readouterr().err


def test_the_role_is_needed(served, tmp_path, capsys):
    infer = ["--token-file", str(served.tokens["infer"])]
    assert main(["csr", served.url, *served.trust, *infer, "-o", str(tmp_path / "s.csr")]) == 4
    assert not (tmp_path / "s.csr").exists()
    assert "role manage" in capsys.readouterr().err
