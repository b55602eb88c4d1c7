"""Sealing: what is measured, compared and refused before a file appears."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import inferonnx
from inferonnx.app.host.checking import NO_VECTOR, check
from inferonnx.cli import main
from inferonnx.errors import UsageError


def test_an_operator_that_is_less_exact_with_packed_weights_keeps_them_constant(key_path, tmp_path):
    """8-bit DequantizeLinear and MatMul become MatMulNBits, which packs constants coarsely."""
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 255, (512, 512), np.uint8)
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["d"]),
            helper.make_node("MatMul", ["x", "d"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 512])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 512])],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(np.array(0.05, np.float32), "scale"),
            numpy_helper.from_array(np.array(128, np.uint8), "zero"),
        ],
    )
    path = tmp_path / "qdq.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), path)
    key = inferonnx.Key.load(key_path)
    report = inferonnx.seal(path, tmp_path / "qdq.sealed", key=key, memory="85MiB")
    assert report.difference.exact
    assert any(
        "MatMulNBits takes it only as a constant" in n for n in report.planned.prepared.notes
    )


def test_an_output_that_is_listed_twice_is_returned_twice(key_path, tmp_path):
    """As plain onnxruntime does."""
    y, z = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8]) for name in "yz")
    weight = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Relu", ["y"], ["z"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [y, z, y],
        [numpy_helper.from_array(weight, "w")],
    )
    model, sealed = tmp_path / "m.onnx", tmp_path / "m.sealed"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model
    )
    key, sample = inferonnx.Key.load(key_path), {"x": weight}
    plain = onnxruntime.InferenceSession(model).run(None, sample)
    inferonnx.seal(model, sealed, key=key, memory="85MiB")
    with inferonnx.open(sealed, key=key, memory="8GiB") as session:
        assert [value.name for value in session.get_outputs()] == ["y", "z", "y"]
        outputs = session.run(None, sample)
        (last,) = session.run(["y"], sample)
    assert len(outputs) == len(plain) == 3
    for mine, known in zip([*outputs, last], [*plain, plain[0]], strict=True):
        np.testing.assert_allclose(mine, known, rtol=1e-5, atol=1e-6)
    assert inferonnx.verify(model, sealed, key=key).within


@pytest.mark.parametrize("keys", ["string", "int64"])
def test_maps_go_in_and_come_out(keys, key_path, tmp_path):
    """As onnxruntime's Python package has them: dicts of plain numbers."""
    weight = np.random.default_rng(0).standard_normal((30, 30)).astype(np.float32)
    names = [f"word {i:02}" if keys == "string" else i * 7 for i in range(30)]
    number = TensorProto.STRING if keys == "string" else TensorProto.INT64
    kind = helper.make_map_type_proto(number, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    vectorizer, zipmap = (
        helper.make_node(op, [x], [y], domain="ai.onnx.ml", **{f"{before}{keys}{behind}": names})
        for op, x, y, before, behind in (
            ("DictVectorizer", "m", "v", "", "_vocabulary"),
            ("ZipMap", "p", "y", "classlabels_", "s"),
        )
    )
    graph = helper.make_graph(
        [vectorizer, helper.make_node("MatMul", ["v", "w"], ["p"]), zipmap],
        "words",
        [helper.make_value_info("m", kind)],
        [helper.make_value_info("y", helper.make_sequence_type_proto(kind))],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model, sealed = tmp_path / "m.onnx", tmp_path / "m.sealed"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), model)
    key, sample = inferonnx.Key.load(key_path), {"m": {names[3]: 2.0, names[7]: -1}}
    (plain,) = onnxruntime.InferenceSession(model).run(None, sample)
    inferonnx.seal(model, sealed, key=key, memory="85MiB", sample=sample)
    with inferonnx.open(sealed, key=key, memory="8GiB") as session:
        (mine,) = session.run(None, sample)
    assert [list(row) for row in mine] == [list(row) for row in plain] == [names]
    assert list(mine[0].values()) == pytest.approx(list(plain[0].values()), rel=1e-5)
    assert inferonnx.verify(model, sealed, key=key, samples=[sample]).within


def test_a_model_that_draws_random_numbers_is_sealed_and_runs(key_path, tmp_path, capsys):
    """Its answers differ from plain onnxruntime's, as those of two runs do."""
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("RandomNormalLike", ["x"], ["r"]),
            helper.make_node("MatMul", ["r", "w"], ["y"]),
        ],
        "dice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(weight, "w")],
    )
    model, sealed = tmp_path / "m.onnx", tmp_path / "m.sealed"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), model)
    assert main(["seal", str(model), "-o", str(sealed), "--key", str(key_path)]) == 0
    shown = capsys.readouterr()
    assert "not judged: the model draws random numbers" in shown.out
    assert "note: the model draws random numbers" in shown.err
    key = inferonnx.Key.load(key_path)
    with inferonnx.open(sealed, key=key, memory="8GiB") as session:
        first, second = (session.run(None, {"x": weight[:1]})[0] for _ in range(2))
    assert np.isfinite(first).all()
    assert not np.array_equal(first, second)
    assert check(str(sealed), key=key, run=True)["check_vector"] == NO_VECTOR


@pytest.fixture
def folder(cnn, tmp_path):
    """A model with external data in two folders, and links to all of it."""
    model = onnx.load(cnn)
    (tmp_path / "real" / "deep").mkdir(parents=True)
    onnx.save(model, tmp_path / "real" / "m.onnx", save_as_external_data=True, location="deep/w")
    (tmp_path / "link.onnx").symlink_to("real/m.onnx")
    (tmp_path / "deep").symlink_to("real/deep")
    (tmp_path / "hard").hardlink_to(tmp_path / "real" / "deep" / "w")
    return tmp_path


@pytest.mark.parametrize("model", ["real/m.onnx", "link.onnx"])
@pytest.mark.parametrize("output", ["real/m.onnx", "link.onnx", "real/deep/w", "deep/w", "hard"])
def test_no_file_of_the_model_is_ever_overwritten(model, output, folder, key_path):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="never overwritten"):
        inferonnx.seal(
            folder / model, folder / output, key=inferonnx.Key.load(key_path), memory="85MiB"
        )
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


class Stop(KeyboardInterrupt):
    """Raised by the test itself."""


@pytest.mark.parametrize("at", [1, 2, 4, 6, 8, 9])
def test_an_interrupt_at_any_message_leaves_the_old_file_alone(cnn, key_path, tmp_path, at):
    output = tmp_path / "m.sealed"
    output.write_bytes(b"the old file")
    count = [0]

    def progress(_text):
        count[0] += 1
        if count[0] == at:
            raise Stop

    with pytest.raises(Stop):
        inferonnx.seal(
            cnn, output, key=inferonnx.Key.load(key_path), memory="85MiB", progress=progress
        )
    assert output.read_bytes() == b"the old file"
    assert [path.name for path in tmp_path.iterdir()] == ["m.sealed"]
