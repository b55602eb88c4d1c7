"""Seeded weights: the same for a seed; outputs are finite and depend on the input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from inferonnx import zoo
from inferonnx.zoo.weights import Weight, full, he, uniform

# Large models take seconds each and half a gigabyte of disk.
_FAST = {
    "squeezenet1.0-7",
    "mobilenetv2-7",
    "densenet-7",
    "efficientnet-lite4-11",
    "decoder-kv",
}
# Outputs that move less than this for another input would let errors pass unseen.
_LEAST_CHANGE = 5e-3


def _session(path: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _another(array: np.ndarray) -> np.ndarray:
    """Return an input of the same kind: shuffled, and where all values are equal, drawn anew."""
    generator = np.random.default_rng(1)
    if np.ptp(array) == 0 and array.dtype == np.float32:
        return generator.normal(1.0, 0.3, array.shape).astype(np.float32)
    return generator.permutation(array.reshape(-1)).reshape(array.shape)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in _FAST else [pytest.mark.slow]) for n in zoo.MODELS],
)
def test_outputs_are_finite_and_depend_on_the_input(name: str, tmp_path: Path) -> None:
    built = zoo.build(name, str(tmp_path))
    session = _session(built.path)
    assert tuple(value.name for value in session.get_outputs()) == zoo.MODELS[name].outputs
    inputs = zoo.sample_inputs(name)
    first = session.run(None, inputs)
    second = session.run(None, {key: _another(value) for key, value in inputs.items()})
    for one, other in zip(first, second, strict=True):
        assert np.isfinite(one).all()
        assert np.isfinite(other).all()
        assert np.linalg.norm(one - other) > _LEAST_CHANGE * np.linalg.norm(one)
    del session
    Path(built.path).unlink()  # pytest keeps folders of three runs; these would be gigabytes


def test_decoder_step_by_step_agrees_with_one_pass(tmp_path: Path) -> None:
    session = _session(zoo.build("decoder-kv", str(tmp_path)).path)
    tokens = np.random.default_rng(3).integers(0, 4096, (1, 20))
    caches = [value.name for value in session.get_inputs()][1:]
    empty = {name: np.zeros((1, 4, 0, 64), np.float32) for name in caches}
    whole = session.run(None, {"input_ids": tokens, **empty})[0]
    cache, steps = empty, []
    for token in tokens[0]:
        logits, *present = session.run(None, {"input_ids": np.array([[token]]), **cache})
        cache = dict(zip(caches, present, strict=True))
        steps.append(logits[0, 0])
    assert whole.shape == (1, 20, 4096)
    np.testing.assert_allclose(np.stack(steps), whole[0], atol=2e-4)


def test_padding_does_not_change_a_sentence(tmp_path: Path) -> None:
    path = Path(zoo.build("minilm-l6", str(tmp_path)).path)
    session = _session(str(path))
    path.unlink()  # 90 MB that pytest would keep
    ids = np.random.default_rng(4).integers(0, 30_522, (1, 12))
    kinds = np.zeros_like(ids)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": kinds}
    alone = session.run(["sentence_embedding"], feed)[0]
    wide = {key: np.pad(value, ((0, 0), (0, 5))) for key, value in feed.items()}
    padded = session.run(["sentence_embedding"], wide)[0]
    np.testing.assert_allclose(padded, alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(alone), 1.0, atol=1e-6)


def test_weights_depend_on_seed_and_name_alone() -> None:
    def values(name: str, seed: int) -> np.ndarray:
        return Weight(name=name, shape=(3, 5), fill=he(5)).values(seed)

    assert np.array_equal(values("a", 1), values("a", 1))
    assert not np.array_equal(values("a", 1), values("a", 2))
    assert not np.array_equal(values("a", 1), values("b", 1))


@pytest.mark.parametrize("fill", [he(8), uniform(-1.0, 1.0), full(2.5)], ids=["he", "even", "full"])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 3, 4)], ids=str)
def test_weights_are_contiguous_float32_of_their_shape(fill: object, shape: tuple) -> None:
    weight = Weight(name="w", shape=shape, fill=fill)
    values = weight.values(1)
    assert values.dtype == np.float32
    assert values.shape == shape
    assert values.flags.c_contiguous
    assert values.nbytes == weight.n_bytes


def test_distributions_are_what_they_say() -> None:
    normal = Weight(name="n", shape=(100_000,), fill=he(50, gain=8.0)).values(1)
    even = Weight(name="u", shape=(100_000,), fill=uniform(4.0, 6.0)).values(1)
    assert normal.std() == pytest.approx(0.4, rel=0.02)
    assert abs(normal.mean()) < 0.01
    assert even.min() >= 4.0
    assert even.max() <= 6.0
    assert even.mean() == pytest.approx(5.0, rel=0.01)
