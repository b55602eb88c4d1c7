import json
import shutil

import pytest

from inferonnx.cli import main
from inferonnx.cli.progress import Progress


@pytest.fixture
def push(served, key_path, capsys):
    def start(path, *options, key=key_path):
        code = main(["push", served.url, str(path), "--key", str(key), *served.trust, *options])
        out, err = capsys.readouterr()
        return code, out, err

    return start


def test_it_says_what_the_model_is_called_there(push, unnumbered_cnn, state_folder):
    code, out, err = push(unnumbered_cnn, "--version", "50")
    assert (code, out) == (0, "cnn 50\n")
    assert "unlock" in err
    assert not list((state_folder / "inferonnx" / "uploads").iterdir())
    code, out, _ = push(unnumbered_cnn, "--json")
    assert json.loads(out) == {"schema": "inferonnx.push/1", "name": "cnn", "version": 51}


def test_a_version_is_never_replaced(push, sealed_cnn):
    code, out, err = push(sealed_cnn)
    assert code == 4
    assert not out
    assert "version 3 already" in err


def test_another_name_than_the_sealed_one_is_refused_here(push, sealed_cnn, tmp_path):
    shutil.copy(sealed_cnn, tmp_path / "other.sealed")
    code, _, err = push(tmp_path / "other.sealed")
    assert code == 2
    assert "was sealed as 'cnn'" in err
    assert "--name cnn" in err


def test_a_damaged_file_is_refused_here(push, unnumbered_cnn, served, tmp_path):
    content = bytearray(unnumbered_cnn.read_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / "cnn.sealed").write_bytes(content)
    before = served.log.read_text().count("uploads")
    code, _, err = push(tmp_path / "cnn.sealed")
    assert code == 3
    assert "damaged or was tampered with" in err
    assert served.log.read_text().count("uploads") == before


def test_another_owners_key_is_refused_here(push, sealed_cnn, tmp_path):
    assert main(["keygen", "-o", str(tmp_path / "other.key")]) == 0
    code, _, err = push(sealed_cnn, key=tmp_path / "other.key")
    assert code == 3
    assert "is sealed for key" in err


def test_another_owner_is_refused_there(push, cnn, tmp_path):
    key, sealed = tmp_path / "other.key", tmp_path / "cnn.sealed"
    assert main(["keygen", "-o", str(key)]) == 0
    assert main(["seal", str(cnn), "-o", str(sealed), "--key", str(key), "--memory", "8GiB"]) == 0
    code, _, err = push(sealed, key=key)
    assert code == 4
    assert "another owner" in err


def test_what_the_server_has_is_not_sent_twice(push, unnumbered_cnn, state_folder, monkeypatch):
    monkeypatch.setattr("inferonnx.client.push.PIECE_BYTES", 50_000)
    told = []

    def interrupted(_self, text):
        told.append(text)
        if text.startswith("sent 4"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "__call__", interrupted)
        code, out, err = push(unnumbered_cnn, "--version", "60")
    assert (code, out) == (130, "")
    assert "not sent twice" in err
    (kept,) = (state_folder / "inferonnx" / "uploads").iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    half = told[-1]
    told.clear()
    monkeypatch.setattr(Progress, "__call__", lambda _, text: told.append(text))
    assert push(unnumbered_cnn, "--version", "60")[:2] == (0, "cnn 60\n")
    assert next(text for text in told if text.startswith("sent")) == half
    assert not kept.exists()
