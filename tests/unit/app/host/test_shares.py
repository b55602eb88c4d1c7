"""The shares that a server gives its models are enough for what they were said to be for."""

import onnx
import pytest

import inferonnx
from inferonnx.app.host.opened_file import open_file
from inferonnx.app.host.serving import EngineOpener
from inferonnx.runtime import process
from inferonnx.tensors import DType, Tensor


@pytest.fixture(scope="module")
def key(key_path):
    return inferonnx.Key.load(key_path)


@pytest.fixture(scope="module")
def fixed(cnn, key, tmp_path_factory):
    """The small model with a batch of one and no other, so that requests can't be joined."""
    folder = tmp_path_factory.mktemp("fixed")
    model = onnx.load(cnn)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, folder / "m.onnx")
    inferonnx.seal(folder / "m.onnx", folder / "m.sealed", key=key, memory="85MiB")
    return folder / "m.sealed"


@pytest.mark.parametrize("is_measured", [True, False])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_full_share_streams_nothing_and_runs_calls_at_once(
    fixed, key, concurrency, is_measured, monkeypatch, tmp_path
):
    opened = open_file(str(fixed), key=key)
    opened.close()
    data_key = key.data_key(opened.verified)
    if not is_measured:
        monkeypatch.setattr(process, "PROC", str(tmp_path))
    opener = EngineOpener()
    facts = opener.facts(str(fixed), data_key, concurrency=concurrency, n_rows=8)
    assert not facts.is_batchable
    model = opener.open(str(fixed), data_key, share_bytes=facts.full_bytes, concurrency=concurrency)
    assert model.residency.streamed_bytes == 0
    assert model._session.figures.n_parallel == concurrency
    assert model._session.figures.measured == is_measured
    image = Tensor(dtype=DType.FLOAT, shape=(1, 3, 16, 16), data=memoryview(bytes(3 * 1024)))
    (scores,) = model.run({"image": image})
    assert scores.shape == (1, 10)
    model.close()
