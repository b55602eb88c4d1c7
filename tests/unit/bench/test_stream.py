import json

import numpy as np
import pytest

import inferonnx
from inferonnx.bench import bench_stream
from inferonnx.bench.stream import Worker, as_json
from inferonnx.errors import EngineError


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.npz" for i in range(2)]
    for path in paths:
        np.savez(path, image=rng.standard_normal((1, 3, 16, 16)).astype(np.float32))
    return paths


@pytest.mark.parametrize("calls", [1, 3])
def test_a_bench_keeps_every_sample_and_the_budget(cnn, sealed_cnn, key_path, samples, calls):
    machine, rows = bench_stream(
        [("cnn", cnn, {"aes-256-gcm": sealed_cnn}, samples)],
        key=key_path,
        memories=[72 << 20, None],
        rounds=2,
        calls=calls,
        no_page_drop=calls > 1,
        progress=lambda _: None,
    )
    plain, tight, whole = (row for row in rows if row.page_drop or not row.suite)
    assert len(rows) == (3 if calls == 1 else 5)
    assert plain.suite == ""
    assert plain.ratio == 1.0
    assert tight.memory_bytes == 72 << 20
    assert whole.memory_bytes is None
    assert tight.peak_bytes <= 72 << 20
    assert whole.streamed_bytes == 0
    for row in rows:
        assert len(row.latency_ms) >= 31  # a short model takes more rounds
        assert row.cpu_s >= 0
        assert row.peak_bytes > 10 << 20
    report = json.loads(as_json(machine, rows))
    assert report["schema"] == "inferonnx.bench-stream/1"
    assert {"cpu", "cores", "onnxruntime"} <= set(report["machine"])
    assert len(report["rows"][0]["latency_ms"]) == len(plain.latency_ms)


def test_a_worker_that_fails_is_an_error(tmp_path, key_path):
    broken = tmp_path / "broken.sealed"
    broken.write_bytes(b"no model")
    with pytest.raises(EngineError, match="not a sealed file"):
        Worker(engine="stream", model=str(broken), key=str(key_path), memory=None, samples=[])


def test_the_one_core_rate_reads_every_block(sealed_cnn, key_path):
    with Worker(engine="rate", model=str(sealed_cnn), key=str(key_path), samples=[]) as worker:
        assert worker.run(0) > 0
        with inferonnx.open(sealed_cnn, key=inferonnx.Key.load(key_path), memory="4GiB") as session:
            assert worker.facts["n_bytes"] == session.figures.resident_bytes
