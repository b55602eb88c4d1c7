"""The shares that a server gives its models are enough for what they were said to be for."""

import pytest

import inferonnx
from inferonnx.app.host.serving import EngineOpener
from inferonnx.runtime import process
from inferonnx.runtime.files import FileSource
from inferonnx.sealed import HEADER_BYTES, parse_header, unwrap_data_key, verify_header
from inferonnx.tensors import DType, Tensor


@pytest.fixture(scope="module")
def data_key(sealed_cnn, key_path):
    source = FileSource(str(sealed_cnn))
    verified = verify_header(parse_header(source.read(0, HEADER_BYTES)))
    source.close()
    return unwrap_data_key(verified, inferonnx.Key.load(key_path).owner)


@pytest.mark.parametrize("is_measured", [True, False])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_full_share_streams_nothing_and_runs_calls_at_once(
    sealed_cnn, data_key, concurrency, is_measured, monkeypatch, tmp_path
):
    if not is_measured:
        monkeypatch.setattr(process, "PROC", str(tmp_path))
    opener = EngineOpener(concurrency=concurrency)
    facts = opener.facts(str(sealed_cnn), data_key)
    margin = 4 << 20  # sessions here take a little more or less than where it was sealed
    model = opener.open(
        str(sealed_cnn),
        data_key,
        share_bytes=facts.full_bytes + margin,
        concurrency=concurrency,
    )
    assert model.residency.streamed_bytes == 0
    assert model._session.figures.n_parallel == concurrency
    assert model._session.figures.measured == is_measured
    image = Tensor(dtype=DType.FLOAT, shape=(1, 3, 16, 16), data=memoryview(bytes(3 * 1024)))
    (scores,) = model.run({"image": image})
    assert scores.shape == (1, 10)
    model.close()
