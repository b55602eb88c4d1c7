"""Sessions of the engine behind the server's ports: real sealed files, real passes."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import inferonnx
from conftest import small_cnn
from inferonnx.app.host.opening import open_file
from inferonnx.app.host.serving import EngineOpener
from inferonnx.crypto import Secret
from inferonnx.errors import (
    AuthenticationError,
    InfeasibleBudgetError,
    ModelNotReadyError,
    SealedFormatError,
    TensorError,
    UsageError,
)
from inferonnx.plan import choose_resident
from inferonnx.sizes import MIB
from inferonnx.tensors import Tensor, as_tensor


@pytest.fixture(scope="module")
def key(key_path):
    return inferonnx.Key.load(key_path)


@pytest.fixture(scope="module")
def wide(tmp_path_factory, key):
    """A model of 29 MiB, in a file of several blocks: (ONNX file, sealed file)."""
    folder = tmp_path_factory.mktemp("wide")
    model = small_cnn(folder / "wide.onnx", channels=512)
    inferonnx.seal(model, folder / "wide.sealed", key=key, memory="70MiB")
    return model, folder / "wide.sealed"


def data_key_of(path, key):
    opened = open_file(str(path), key=key)
    opened.source.close()
    return key.data_key(opened.keys.verified)


def manifest_of(path, key):
    opened = open_file(str(path), key=key)
    opened.source.close()
    return opened.manifest


@pytest.fixture
def opener():
    return EngineOpener()


def plain_answer(model, image):
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image})[0]


def test_facts_are_those_of_the_manifest(opener, sealed_cnn, key):
    facts = opener.facts(str(sealed_cnn), data_key_of(sealed_cnn, key), concurrency=1)
    assert facts.name == "cnn"
    assert [(v.name, v.shape) for v in facts.inputs] == [("image", ("batch", 3, 16, 16))]
    assert [(v.name, v.shape) for v in facts.outputs] == [("scores", ("batch", 10))]
    assert 0 < facts.pass_bytes < facts.least_bytes <= facts.full_bytes


def test_each_call_more_takes_what_a_waiting_call_holds(opener, wide, key):
    path, secret = str(wide[1]), data_key_of(wide[1], key)
    one = opener.facts(path, secret, concurrency=1)
    four = opener.facts(path, secret, concurrency=4)
    more = 3 * manifest_of(path, key).memory.call_bytes
    assert four.pass_bytes - one.pass_bytes == more > 0
    assert four.full_bytes - one.full_bytes == more


def test_the_key_of_another_model_opens_nothing(opener, sealed_cnn):
    with pytest.raises(AuthenticationError):
        opener.facts(str(sealed_cnn), Secret(bytes(32)), concurrency=1)
    with pytest.raises(AuthenticationError):
        opener.open(str(sealed_cnn), Secret(bytes(32)), share_bytes=1 << 30, concurrency=1)


def test_what_is_no_sealed_file_is_told(opener, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"text")
    with pytest.raises(SealedFormatError):
        opener.facts(str(path), Secret(bytes(32)), concurrency=1)


def test_a_model_with_sequences_can_not_be_served(opener, tmp_path, key):
    graph = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x", "x"], ["y"])],
        "sequence",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, [2])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "m.onnx",
    )
    inferonnx.seal(tmp_path / "m.onnx", tmp_path / "m.sealed", key=key, memory="85MiB")
    secret = data_key_of(tmp_path / "m.sealed", key)
    with pytest.raises(ModelNotReadyError, match="no tensor, and can't be served"):
        opener.facts(str(tmp_path / "m.sealed"), secret, concurrency=1)


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_a_share_holds_weights_by_what_sealing_measured_alone(opener, wide, key, part):
    path, secret = str(wide[1]), data_key_of(wide[1], key)
    facts = opener.facts(path, secret, concurrency=2)
    share = facts.least_bytes + int(part * (facts.full_bytes - facts.least_bytes))
    model = opener.open(path, secret, share_bytes=share, concurrency=2)
    manifest = manifest_of(path, key)
    blocks = [partition.block_bytes for partition in manifest.partitions]
    assert len(blocks) > 2
    calls = min(2, 1 + (share - facts.least_bytes) // manifest.memory.call_bytes)
    waiting = (calls - 1) * manifest.memory.call_bytes
    left = share - manifest.memory.session_bytes - manifest.arena.peak_bytes - waiting
    kept, _ = choose_resident(blocks, available_bytes=left)
    assert model.residency.resident_bytes == sum(blocks[i] for i in kept)
    assert model.residency.streamed_bytes == sum(blocks) - model.residency.resident_bytes
    assert (model.residency.streamed_bytes == 0) == (part == 1.0)
    model.close()


def test_a_share_below_the_least_is_refused(opener, wide, key):
    path, secret = str(wide[1]), data_key_of(wide[1], key)
    memory, arena = manifest_of(path, key).memory, manifest_of(path, key).arena
    share = memory.session_bytes + arena.peak_bytes + MIB
    with pytest.raises(InfeasibleBudgetError, match="needs at least"):
        opener.open(path, secret, share_bytes=share, concurrency=1)


def test_an_open_model_takes_and_gives_tensors_and_counts_what_it_opens(opener, wide, key, image):
    path, secret = str(wide[1]), data_key_of(wide[1], key)
    facts = opener.facts(path, secret, concurrency=1)
    model = opener.open(path, secret, share_bytes=facts.least_bytes, concurrency=1)
    secret.wipe()  # it is open: the data key has no more use
    (scores,) = model.run({"image": as_tensor(image)})
    assert isinstance(scores, Tensor)
    np.testing.assert_allclose(
        np.asarray(scores), plain_answer(wide[0], image), rtol=1e-3, atol=1e-5
    )
    weights = sum(partition.block_bytes for partition in manifest_of(*wide[1:], key).partitions)
    assert model.opened_bytes == weights
    model.run({"image": as_tensor(image)})
    assert model.opened_bytes == weights + model.residency.streamed_bytes > weights
    with pytest.raises(TensorError, match="image"):
        model.run({})
    assert model.fits({"image": (1, 3, 16, 16)})
    assert not model.fits({"image": (100_000, 3, 16, 16)})
    model.close()
    with pytest.raises(UsageError, match="closed"):
        model.run({"image": as_tensor(image)})


def test_a_model_that_is_closed_can_be_opened_again_with_the_same_key(opener, sealed_cnn, key):
    secret = data_key_of(sealed_cnn, key)
    share = opener.facts(str(sealed_cnn), secret, concurrency=1).full_bytes
    for _ in range(2):
        opener.open(str(sealed_cnn), secret, share_bytes=share, concurrency=1).close()
