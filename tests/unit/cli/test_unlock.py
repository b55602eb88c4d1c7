"""Unlock and delete; the server is the one that other tests use, so it is left as it was."""

import shutil

import pytest

from inferonnx.cli import main


@pytest.fixture
def run(served, key_path, capsys):
    def start(verb, *arguments, key=key_path):
        words = [verb, served.url, *map(str, arguments), "--key", str(key), *served.trust]
        code = main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return start


@pytest.fixture
def pushed(run, served, unnumbered_cnn):
    """A version that is locked."""
    code, out, err = run("push", unnumbered_cnn)
    assert code == 0, err
    return out.split()[1]


def test_unlock_makes_ready(run, served, pushed, unnumbered_cnn):
    copy = ("--model", unnumbered_cnn)
    code, out, _ = run("unlock", "cnn", "--version", pushed, *copy)
    assert (code, out) == (0, f"cnn {pushed} ready\n")
    # Without a version it is looked up, which takes a token; the newest that is this very model.
    code, _, err = run("unlock", "cnn", *copy)
    assert code == 4
    assert "--version" in err
    code, out, _ = run("unlock", "cnn", *copy, "--token-file", served.tokens["infer"])
    assert (code, out) == (0, f"cnn {pushed} ready\n")


def test_unlock_takes_the_copy_by_its_name(run, sealed_cnn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("unlock", "cnn")
    assert code == 2
    assert "no 'cnn.sealed'" in err
    assert "--model" in err
    shutil.copy(sealed_cnn, tmp_path / "cnn.sealed")
    assert run("unlock", "cnn")[:2] == (0, "cnn 3 ready\n")


def test_unlock_of_what_is_not_there(run, sealed_cnn, unnumbered_cnn, served):
    code, _, err = run("unlock", "cnn", "--version", "99", "--model", unnumbered_cnn)
    assert code == 2
    assert "not found" in err
    code, _, err = run("unlock", "other", "--model", sealed_cnn)
    assert code == 2
    assert "was sealed as 'cnn'" in err


def test_unlock_with_another_models_file_is_refused(run, pushed, served, sealed_cnn):
    """The model id is signed: the server has another model under this version."""
    code, _, err = run("unlock", "cnn", "--version", pushed, "--model", sealed_cnn)
    assert code == 2
    assert "release 3" in err  # here already: it is numbered


def test_delete_is_for_good_and_only_for_its_owner(run, served, pushed, unnumbered_cnn, tmp_path):
    assert main(["keygen", "-o", str(tmp_path / "other.key")]) == 0
    version = ("--version", pushed)
    token = ("--token-file", served.tokens["all"])
    code, _, err = run("delete", "cnn", *version, *token, key=tmp_path / "other.key")
    assert code == 4
    assert "belongs to another owner" in err
    code, out, err = run("delete", "cnn", *version, *token)
    assert code == 0, err
    assert out.endswith(f"cnn {pushed} deleted\n")
    code, _, err = run("delete", "cnn", *version, *token)
    assert code == 2
    assert f"no 'cnn' version {pushed}" in err


def test_delete_by_the_owners_copy_takes_no_token(run, pushed, unnumbered_cnn):
    code, _, err = run("delete", "cnn", "--version", pushed)
    assert code == 4
    assert "--model" in err
    copy = ("--model", unnumbered_cnn)
    assert run("delete", "cnn", "--version", pushed, *copy)[0] == 0
