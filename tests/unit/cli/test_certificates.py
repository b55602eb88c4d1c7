"""A CA of openssl's signs what `csr` gives, and `install-cert` brings it in."""

import pytest

import inferonnx
from inferonnx.cli import main
from served import Served
from serving.certificates import Authority


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
    return Authority(tmp_path / "ca")


def test_a_ca_signs_the_live_key(own, ca, tmp_path, capsys):
    manage = ["--token-file", str(own.tokens["manage"])]
    assert main(["csr", own.url, *own.trust, *manage, "-o", str(tmp_path / "s.csr")]) == 0
    assert main(["csr", own.url, *own.trust, *manage]) == 0
    assert capsys.readouterr().out.startswith("-----BEGIN CERTIFICATE REQUEST-----")
    ca.sign(tmp_path / "s.csr", tmp_path / "s.pem")
    by_ca = ["--ca", str(ca.pem), "--insecure-no-attestation", *manage]
    assert main(["list", own.url, *by_ca]) == 3
    install = ["install-cert", own.url, str(tmp_path / "s.pem"), *manage]
    assert main([*install, *own.trust]) == 0
    assert main(["list", own.url, *by_ca]) == 0
    capsys.readouterr()
    assert main(["list", own.url, *own.trust, *manage]) == 3  # the old one is not shown any more


def test_a_certificate_for_another_key_is_refused(served, ca, capsys):
    manage = ["--token-file", str(served.tokens["manage"])]
    assert main(["install-cert", served.url, str(ca.pem), *served.trust, *manage]) == 2
    assert "another key" in capsys.readouterr().err


def test_the_role_is_needed(served, tmp_path, capsys):
    infer = ["--token-file", str(served.tokens["infer"])]
    assert main(["csr", served.url, *served.trust, *infer, "-o", str(tmp_path / "s.csr")]) == 4
    assert not (tmp_path / "s.csr").exists()
    assert "role manage" in capsys.readouterr().err
