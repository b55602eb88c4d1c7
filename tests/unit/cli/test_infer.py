import json

import numpy as np
import pytest

import inferonnx
from inferonnx.cli import infer, main
from inferonnx.oip import BadReplyError


@pytest.fixture
def run(served, capsys):
    def start(*options, role="infer"):
        token = ["--token-file", str(served.tokens[role])]
        code = main(["infer", served.url, "cnn", *served.trust, *token, *map(str, options)])
        out, err = capsys.readouterr()
        return code, out, err

    return start


def test_the_answer_is_that_of_the_sealed_model(run, sample, image, sealed_cnn, key_path, tmp_path):
    code, out, err = run("--input", sample, "-o", tmp_path / "out.npz")
    assert code == 0, err
    key = inferonnx.Key.load(key_path)
    with inferonnx.open(sealed_cnn, key=key, memory="8GiB") as session:
        (expected,) = session.run(None, {"image": image})
    with np.load(tmp_path / "out.npz") as written:
        np.testing.assert_allclose(written["scores"], expected, rtol=1e-4, atol=1e-5)
    assert out.startswith("scores: float [1, 10], largest ")
    assert "median" in err


def test_several_samples_and_repeats(run, image, tmp_path):
    folder = tmp_path / "samples"
    folder.mkdir()
    for i in range(3):
        np.savez(folder / f"{i}.npz", image=image + i)
    code, out, _ = run("--input", folder, "-o", tmp_path / "out", "--repeat", 2, "--json")
    assert code == 0
    facts = json.loads(out)
    assert (facts["samples"], len(facts["latency_ms"])) == (3, 6)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.npz", "1.npz", "2.npz"]


def test_one_output_fits_an_npy(run, sample, tmp_path):
    assert run("--input", sample, "-o", tmp_path / "out.npy")[0] == 0
    assert np.load(tmp_path / "out.npy").shape == (1, 10)


def test_tensors_without_a_name_bind_by_position(run, image, tmp_path):
    np.save(tmp_path / "x.npy", image)
    assert run("--input", tmp_path / "x.npy")[0] == 0


def test_a_version_that_is_not_there(run, sample):
    code, _, err = run("--input", sample, "--version", 77)
    assert code == 2
    assert "version 77" in err


def test_inputs_that_do_not_fit(run, tmp_path):
    np.savez(tmp_path / "x.npz", other=np.zeros(1, np.float32))
    code, _, err = run("--input", tmp_path / "x.npz")
    assert code == 2
    assert "no input 'other'" in err
    np.savez(tmp_path / "y.npz", image=np.zeros((1, 3, 16, 17), np.float32))
    code, _, err = run("--input", tmp_path / "y.npz")
    assert code == 2
    assert "unexpected shape" in err


def test_an_input_is_never_overwritten(run, sample):
    code, _, err = run("--input", sample, "-o", sample)
    assert code == 2
    assert "never overwritten" in err


def test_a_role_that_is_missing(run, sample):
    code, _, err = run("--input", sample, role="metrics")
    assert code == 4
    assert "role infer" in err


@pytest.mark.parametrize(
    "metadata", [{}, {"inputs": 5}, {"inputs": [{}]}, {"inputs": [{"name": 1}]}]
)
def test_metadata_of_another_form_is_refused(metadata):
    with pytest.raises(BadReplyError):
        infer._names(metadata, "inputs")


def test_it_loads_neither_numpy_nor_onnx(served, sample):
    import subprocess
    import sys

    code = (
        "import sys; from inferonnx.cli import main\n"
        f"assert main({['infer', served.url, 'cnn', '--input', str(sample), *served.trust]}"
        f" + ['--token-file', {str(served.tokens['infer'])!r}]) == 0\n"
        "assert not {'numpy', 'onnx', 'onnxruntime', 'asyncio'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
