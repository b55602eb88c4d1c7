"""What all verbs that speak to a server have in common."""

import pytest

from inferonnx.cli import main
from inferonnx.cli.verbs import VERBS
from scripted import Certificate

SPEAKING = ("push", "unlock", "list", "infer", "load", "unload", "delete", "csr", "install-cert")


def arguments(verb, url, key, sealed, sample):
    owner = ["--key", str(key)]
    return [
        verb,
        url,
        *{
            "push": [str(sealed), *owner],
            "unlock": ["cnn", "--model", str(sealed), *owner],
            "delete": ["cnn", "--version", "99", "--model", str(sealed), *owner],
            "infer": ["cnn", "--input", str(sample)],
            "install-cert": [str(sample)],
            "load": ["cnn"],
            "unload": ["cnn"],
        }.get(verb, []),
    ]


@pytest.fixture
def run(served, key_path, sealed_cnn, sample, capsys):
    def start(verb, *options, url=served.url):
        code = main([*arguments(verb, url, key_path, sealed_cnn, sample), *options])
        out, err = capsys.readouterr()
        return code, out, err

    return start


@pytest.mark.parametrize("verb", SPEAKING)
def test_without_attestation_every_verb_refuses(run, served, verb):
    code, out, err = run(verb, "--ca", str(served.ca))
    assert code == 4
    assert not out
    assert "nothing proves what runs at" in err
    assert "--insecure-no-attestation" in err


@pytest.mark.parametrize("verb", SPEAKING)
def test_a_certificate_that_is_not_trusted_is_refused(run, tmp_path, verb):
    other = Certificate(tmp_path / "other", "127.0.0.1")
    code, out, err = run(verb, "--ca", str(other.ca), "--insecure-no-attestation")
    assert code == 3
    assert not out
    assert "is not trusted" in err


def test_a_server_that_is_away_is_unavailable(run, served):
    code, _, err = run("list", *served.trust, url="https://127.0.0.1:9")
    assert code == 5
    assert "Connection refused" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ca", "/nowhere.pem"), "No such file"),
        (("--token-file", "/nowhere"), "No such file"),
        (("--timeout", "-1"), "is not a number of seconds"),
        (("--timeout", "x"), "is not a number of seconds"),
        (("--tls-min", "1.1"), "invalid choice"),
        (("--client-key", "x.pem"), "needs the certificate"),
    ],
)
def test_options_that_make_no_sense(run, options, message):
    code, _, err = run("list", *options)
    assert code == 2
    assert message in err


def test_a_url_that_is_none_and_may_hold_a_password(run):
    code, _, err = run("list", url="https://me:secret@models")
    assert code == 2
    assert "secret" not in err


def test_a_token_comes_from_a_file_or_the_environment(run, served, monkeypatch, tmp_path):
    code, _, err = run("list", *served.trust)
    assert code == 4
    assert "needs a token" in err
    assert run("list", *served.trust, "--token-file", str(served.tokens["infer"]))[0] == 0
    monkeypatch.setenv("INFERONNX_TOKEN", served.token("infer"))
    assert run("list", *served.trust)[0] == 0
    code, _, err = run("load", *served.trust)
    assert code == 4
    assert "role manage" in err
    served_wrong = tmp_path / "wrong"
    served_wrong.write_text("ifx_0123456789ab_" + "x" * 43)
    served_wrong.chmod(0o600)
    code, _, err = run("list", *served.trust, "--token-file", str(served_wrong))
    assert code == 4
    assert "x" * 43 not in err


def test_a_token_file_that_others_can_read_is_refused(run, served, tmp_path):
    (tmp_path / "token").write_text("ifx_secret")
    (tmp_path / "token").chmod(0o644)
    code, _, err = run("list", *served.trust, "--token-file", str(tmp_path / "token"))
    assert code == 2
    assert "token file" in err
    assert "secret" not in err


def test_every_verb_that_speaks_is_tried():
    modules = {verb.module for name, verb in VERBS.items() if name in SPEAKING}
    assert {"push", "unlock", "listing", "infer", "load", "certificates"} == modules
