import json
import os
import signal

import numpy as np
import pytest

import inferonnx
from inferonnx.bench import bench_stream, stream
from inferonnx.bench.stream import Worker, as_json
from inferonnx.errors import (
    AuthenticationError,
    InfeasibleBudgetError,
    SealedFormatError,
    UnavailableError,
)
from inferonnx.sealed import HEADER_BYTES


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.npz" for i in range(2)]
    for path in paths:
        np.savez(path, image=rng.standard_normal((1, 3, 16, 16)).astype(np.float32))
    return paths


@pytest.mark.parametrize("calls", [1, 3])
def test_a_bench_keeps_every_sample_and_the_budget(
    cnn, sealed_cnn, key_path, samples, calls, monkeypatch
):
    monkeypatch.setattr(stream, "PAUSE_S", 0.001)  # nobody looks at the times
    machine, rows, failed = bench_stream(
        [("cnn", cnn, {"aes-256-gcm": sealed_cnn}, samples)],
        {},
        key=key_path,
        memories=[72 << 20, None],
        rounds=2,
        calls=calls,
        no_page_drop=calls > 1,
        progress=lambda _: None,
    )
    assert not failed
    plain, tight, whole = (row for row in rows if row.page_drop or not row.suite)
    assert len(rows) == (3 if calls == 1 else 5)
    assert plain.suite == ""
    assert plain.ratio == plain.idle_ratio == 1.0
    assert tight.memory_bytes == 72 << 20
    assert whole.memory_bytes is None
    assert tight.peak_bytes <= 72 << 20
    assert whole.streamed_bytes == 0
    for row in rows:
        assert (
            len(row.idle_latency_ms) == len(row.latency_ms) >= 31
        )  # a short model takes more rounds
        assert row.cpu_s >= 0
        assert row.peak_bytes > 10 << 20
    report = json.loads(as_json(machine, rows))
    assert report["schema"] == "inferonnx.bench-stream/2"
    assert {"cpu", "cores", "onnxruntime"} <= set(report["machine"])
    assert len(report["rows"][0]["latency_ms"]) == len(plain.latency_ms)


def worker(model, key_path, *, memory=None, samples=(), calls=1):
    return Worker(
        engine="stream",
        model=str(model),
        key=str(key_path),
        memory=memory,
        samples=[str(path) for path in samples],
        calls=calls,
    )


def test_an_error_of_a_worker_keeps_its_class_and_figures(sealed_cnn, tmp_path, key_path):
    broken = tmp_path / "broken.sealed"
    broken.write_bytes(b"no model")
    with pytest.raises(SealedFormatError, match="not a sealed file"):
        worker(broken, key_path)
    with pytest.raises(InfeasibleBudgetError) as caught:
        worker(sealed_cnn, key_path, memory=8 << 20)
    assert caught.value.needed_bytes > caught.value.budget_bytes == 8 << 20
    assert caught.value.hint


@pytest.mark.parametrize("calls", [1, 3])
def test_an_error_within_a_run_is_told_too(sealed_cnn, key_path, samples, tmp_path, calls):
    content = bytearray(sealed_cnn.read_bytes())
    content[HEADER_BYTES + 100] ^= 1  # of a weight: nothing but a run reads it
    (tmp_path / "forged.sealed").write_bytes(content)
    with worker(tmp_path / "forged.sealed", key_path, samples=samples, calls=calls) as forged:
        with pytest.raises(AuthenticationError):
            forged.run(0, calls)


def test_a_worker_that_is_killed_is_told(sealed_cnn, key_path, samples):
    with worker(sealed_cnn, key_path, samples=samples) as killed:
        os.kill(killed._process.pid, signal.SIGKILL)
        killed._process.wait()
        with pytest.raises(UnavailableError, match="the sealed stream was killed"):
            killed.run(0)


def test_the_one_core_rate_reads_every_block(sealed_cnn, key_path):
    with Worker(engine="rate", model=str(sealed_cnn), key=str(key_path), samples=[]) as worker:
        assert worker.run(0) > 0
        with inferonnx.open(sealed_cnn, key=inferonnx.Key.load(key_path), memory="4GiB") as session:
            assert worker.facts["n_bytes"] == session.figures.resident_bytes
