"""Sample inputs are of the published kind, named as the published ones are."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from inferonnx import zoo
from inferonnx.zoo.samples import sample_files

_UNNAMED = {
    "mobilenetv2-7",
    "resnet101-v2-7",
    "resnet152-v2-7",
    "inception-v3-12",
    "efficientnet-v2-l-18",
}


@pytest.mark.parametrize("name", list(zoo.MODELS))
def test_files_hold_the_samples_in_the_order_of_the_inputs(name: str) -> None:
    model = zoo.MODELS[name]
    files = sample_files(model)
    assert list(files) == [f"input_{number}.pb" for number in range(len(model.samples))]
    arrays = zoo.sample_inputs(name)
    for sample, content in zip(model.samples, files.values(), strict=True):
        tensor = onnx.TensorProto.FromString(content)
        assert tensor.name == ("" if name in _UNNAMED else sample.input)
        assert np.array_equal(numpy_helper.to_array(tensor), arrays[sample.input])


@pytest.mark.parametrize("name", list(zoo.MODELS))
def test_samples_fit_the_graph_inputs(name: str) -> None:
    wanted = {value.name: value.type.tensor_type for value in zoo.blueprint(name).inputs}
    for key, array in zoo.sample_inputs(name).items():
        dims = wanted[key].shape.dim
        assert onnx.helper.np_dtype_to_tensor_dtype(array.dtype) == wanted[key].elem_type
        assert len(dims) == array.ndim
        assert all(d.dim_param or d.dim_value == n for d, n in zip(dims, array.shape, strict=True))


def _only(name: str) -> np.ndarray:
    (array,) = zoo.sample_inputs(name).values()
    return array


def test_kinds_of_sample() -> None:
    noise = _only("squeezenet1.0-7")
    assert noise.std() == pytest.approx(10, rel=0.02)
    assert abs(noise.mean()) < 0.2
    pixels = _only("resnet152-v2-7")
    assert set(np.unique(pixels)) == set(range(256))
    assert pixels.mean() == pytest.approx(127.5, rel=0.01)
    assert np.array_equal(pixels, _only("mobilenetv2-7"))
    photo = _only("efficientnet-lite4-11")
    assert (photo.min(), photo.max()) == (-127 / 128, 1.0)
    assert np.array_equal(photo * 128, np.rint(photo * 128))
    # Neighbours in a photograph resemble each other.
    assert np.abs(np.diff(photo, axis=1)).mean() < 0.1 * np.ptp(photo)
    assert np.all(_only("inception-v3-12") == 1)
    assert np.all(_only("efficientnet-v2-l-18") == 1)


def test_another_seed_gives_another_sample_of_the_same_kind() -> None:
    first, second = (zoo.sample_inputs("densenet-7", seed)["data_0"] for seed in (1, 2))
    assert first.shape == second.shape
    assert not np.array_equal(first, second)
