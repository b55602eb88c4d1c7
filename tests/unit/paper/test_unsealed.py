"""The benchmarks' own opener and server in the clear, and that no wheel has them."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import inferonnx
from inferonnx.bench.served import Asker, encoded

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "scripts" / "benchmarks" / "unsealed"


def script(name, *arguments, **more):
    return subprocess.Popen(
        [sys.executable, str(SCRIPTS / name), *map(str, arguments)],
        **{"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
    )


@pytest.fixture(scope="module")
def plain_file(sealed_cnn, key_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "cnn.plain"
    done = script("unseal.py", sealed_cnn, path, "--key", key_path)
    assert done.communicate(timeout=60) == ("", "")
    return path


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "sample.npz"
    np.savez(path, image=np.random.default_rng(1).standard_normal((1, 3, 16, 16), np.float32))
    return path


def test_what_is_on_disk_is_in_the_clear(plain_file, sealed_cnn):
    assert b"secret_head" not in sealed_cnn.read_bytes()
    assert plain_file.stat().st_size > 100_000
    assert b"image" in plain_file.read_bytes()


@pytest.mark.parametrize("config", [{}, {"resident": True}, {"cold": True}], ids=str)
def test_the_engine_without_a_cipher(config, plain_file, sample):
    config = {"model": str(plain_file), "samples": [str(sample)], "resident": False, **config}
    worker = script("worker.py", json.dumps({**config, "steps": True}), stdin=subprocess.PIPE)
    answers, said = worker.communicate("0\n0\n", timeout=60)
    assert not said
    facts, *runs = map(json.loads, answers.splitlines())
    assert bool(facts["streamed_bytes"]) is not config["resident"]
    assert [len(run["partition_ms"]) for run in runs] == [facts["n_partitions"]] * 2
    assert all(0 < sum(run["partition_ms"]) <= run["ms"] for run in runs)


def test_a_file_that_is_not_whole_is_refused(plain_file, tmp_path):
    short = tmp_path / "short.plain"
    short.write_bytes(plain_file.read_bytes()[:-1])
    worker = script("worker.py", json.dumps({"model": str(short), "samples": [], "resident": True}))
    _, said = worker.communicate(timeout=60)
    assert worker.returncode
    assert "not all of it" in said


@pytest.mark.parametrize("is_tls", [False, True], ids=["clear", "tls"])
def test_the_server_answers_what_onnxruntime_does(is_tls, cnn, plain_file, sample, tmp_path):
    certificate = tmp_path / "server.pem"
    server = script("serve.py", plain_file, *(("--cert-out", certificate) if is_tls else ()))
    try:
        port = int(json.loads(server.stdout.readline())["addresses"][0].rpartition(":")[2])
        asker = Asker(port, certificate if is_tls else None, "plain")
        arrays = dict(np.load(sample))
        for _ in range(2):
            asker.ask(encoded("plain", arrays, ["scores"]))
        scores = np.frombuffer(asker.last[-40:], np.float32)
        asker.close()
        lines = [json.loads(server.stderr.readline()) for _ in range(2)]
    finally:
        server.kill()
        server.communicate()
    session = onnxruntime.InferenceSession(str(cnn), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(scores, session.run(None, arrays)[0][0], rtol=1e-4)
    for line in lines:
        assert 0 < sum(line["partition_ms"]) <= line["engine_ms"] <= line["ms"]


def test_no_wheel_has_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        own = [name for name in names if name.endswith(".py")]
        assert "inferonnx/sealed/segments.py" in own
        assert not [name for name in names if "unseal" in name or "plain_file" in name]
        code = {name: packed.read(name).decode() for name in own}
    tell = ("PlainOpener", "plain_file import", "import plain_file")
    assert not [name for name, text in code.items() if any(word in text for word in tell)]
    openers = [name for name, text in code.items() if "def open_in_place" in text]
    assert sorted(openers) == [
        "inferonnx/crypto/aead.py",
        "inferonnx/crypto/aegis.py",
        "inferonnx/crypto/aes_gcm.py",
        "inferonnx/sealed/segments.py",
    ]


def test_every_suite_of_the_package_encrypts():
    from inferonnx.crypto import SUITES

    for suite in SUITES.values() if hasattr(SUITES, "values") else SUITES:
        try:
            aead = suite.aead(inferonnx.crypto.Secret(bytes(suite.key_bytes)))
        except inferonnx.errors.UnavailableError:
            continue  # its library is not installed
        text = bytearray(100)
        aead.seal_in_place(suite.nonce(0), b"", memoryview(text))
        assert text != bytes(100)
