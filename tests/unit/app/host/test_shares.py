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
def test_a_full_share_streams_nothing_and_has_room_for_all_calls(
    sealed_cnn, data_key, concurrency, is_measured, monkeypatch, tmp_path
):
    if not is_measured:
        monkeypatch.setattr(process, "PROC", str(tmp_path))
    opener = EngineOpener()
    facts = opener.facts(str(sealed_cnn), data_key, concurrency=concurrency, n_rows=1)
    model = opener.open(
        str(sealed_cnn), data_key, share_bytes=facts.full_bytes, concurrency=concurrency
    )
    assert model.residency.streamed_bytes == 0
    assert model.residency.pass_bytes >= facts.pass_bytes
    assert model._session.figures.measured == is_measured
    image = Tensor(dtype=DType.FLOAT, shape=(1, 3, 16, 16), data=memoryview(bytes(3 * 1024)))
    (scores,) = model.run({"image": image})
    assert scores.shape == (1, 10)
    model.close()
