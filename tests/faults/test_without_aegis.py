"""Where libaegis is not installed, AEGIS-256X2 is refused and told how to get it."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

import inferonnx
from inferonnx.cli import main
from inferonnx.errors import ExitCode, UnavailableError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sealed.json").read_text())


@pytest.fixture(autouse=True)
def _missing(without_aegis):
    """In every test here."""


@pytest.fixture
def sealed(tmp_path):
    """A model that was sealed with AEGIS-256X2 elsewhere, and its owner's key file."""
    (vector,) = (v for v in VECTORS["vectors"] if v["name"] == "good-aegis-256x2")
    (tmp_path / "m.sealed").write_bytes(base64.b64decode(vector["file"]["whole"]))
    key_path = tmp_path / "vectors.key"
    key_path.write_text(VECTORS["keys"]["owner"])
    key_path.chmod(0o600)
    return tmp_path / "m.sealed", key_path


def check_text(text):
    assert "AEGIS-256X2 needs libaegis" in text
    assert "pip install 'inferonnx[aegis]'" in text
    assert "needs a C compiler" in text


def test_sealing_with_it_is_refused_and_leaves_no_file(cnn, key_path, tmp_path):
    key = inferonnx.Key.load(key_path)
    with pytest.raises(UnavailableError) as caught:
        inferonnx.seal(cnn, tmp_path / "o", key=key, memory="85MiB", suite="aegis-256x2")
    check_text(f"{caught.value.message}. {caught.value.hint}")
    assert list(tmp_path.iterdir()) == []


def test_opening_a_file_of_it_is_refused(sealed):
    path, key_path = sealed
    with pytest.raises(UnavailableError) as caught:
        inferonnx.open(path, key=inferonnx.Key.load(key_path), memory="4GiB")
    check_text(f"{caught.value.message}. {caught.value.hint}")


@pytest.mark.parametrize("verb", ["seal", "plan", "run", "verify", "inspect", "check"])
def test_a_command_says_what_to_install(verb, sealed, cnn, key_path, tmp_path, capsys):
    path, its_key = map(str, sealed)
    np.savez(tmp_path / "in.npz", x=np.zeros((1, 8, 2), np.float32))
    suite = ("--suite", "aegis-256x2")
    arguments = {
        "seal": (str(cnn), "-o", str(tmp_path / "o"), "--key", str(key_path), *suite),
        "plan": (str(cnn), "--memory", "85MiB", *suite),
        "run": (path, "--key", its_key, "--input", str(tmp_path / "in.npz")),
        "verify": (str(cnn), path, "--key", its_key),
        "inspect": (path, "--key", its_key),
        "check": (path, "--key", its_key),
    }
    assert main([verb, *arguments[verb]]) == ExitCode.UNAVAILABLE
    check_text(capsys.readouterr().err)


@pytest.mark.parametrize("verb", ["inspect", "check"])
def test_what_needs_no_key_needs_no_library(verb, sealed):
    assert main([verb, str(sealed[0])]) == 0
