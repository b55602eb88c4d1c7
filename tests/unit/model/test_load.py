"""Broken and hostile files: one sentence each, before onnxruntime sees them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from inferonnx.errors import ModelError, UnavailableError
from inferonnx.model import prepare
from inferonnx.model.load import load_model

node = helper.make_node
FLOAT = TensorProto.FLOAT


@pytest.fixture
def model(build):
    weights = {"w": np.ones((300, 4), np.float32)}
    return build([node("MatMul", ["x", "w"], ["y"])], {"x": (FLOAT, [1, 300])}, ["y"], weights)


@pytest.fixture
def external(model, tmp_path):
    """Save the model with its weight in a file beside it; return a writer of other locations."""
    data = numpy_helper.to_array(model.graph.initializer[0]).tobytes()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "w.bin").write_bytes(data)
    (tmp_path / "outside.bin").write_bytes(data)

    def write(location: str, **fields: int) -> str:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        del tensor.external_data[:]
        for key, value in {"location": location, **fields}.items():
            tensor.external_data.add(key=key, value=str(value))
        path = tmp_path / "folder" / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return str(path)

    return write


def test_a_sound_model_is_described(save, model):
    loaded = load_model(save(model))
    assert loaded.inputs == ("x",)
    assert [value.name for value in loaded.outputs] == ["y"]
    assert loaded.initialized == {"w"}
    assert loaded.n_bytes == model.ByteSize()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"hello world, this is no model", "is not an ONNX model"),
        (b"\x00" * 100, "is not an ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"\x08\x08\x12\x04test", "is not an ONNX model"),
    ],
    ids=["empty", "text", "zeros", "lfs", "no graph"],
)
def test_other_files_are_refused(tmp_path, content, problem):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=problem):
        load_model(str(path))


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_model_is_refused(tmp_path, model, part):
    content = model.SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ModelError) as caught:
        load_model(str(path))
    assert "cut off" in str(caught.value) or "not a" in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ModelError, match="there is no file"):
        load_model(str(tmp_path / "none.onnx"))
    with pytest.raises(ModelError, match="is not a file"):
        load_model(str(tmp_path))


def test_an_unreadable_file_is_unavailable(save, model, monkeypatch):
    path = save(model)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("inferonnx.model.load.os.stat", refuse)
        with pytest.raises(UnavailableError, match="can't be read: Permission denied"):
            load_model(path)


def test_external_data_beside_the_model_is_read(external, check):
    prepared = check(external("w.bin"), rtol=1e-5)
    assert list(prepared.graph.weight_bytes.values()) == [4800]


def test_external_data_below_the_model_is_read(external, check, tmp_path):
    (tmp_path / "folder" / "sub").mkdir()
    (tmp_path / "folder" / "w.bin").rename(tmp_path / "folder" / "sub" / "w.bin")
    check(external("sub/w.bin", offset=0, length=4800), rtol=1e-5)


def test_a_model_is_found_from_its_own_folder(external, monkeypatch, tmp_path):
    external("w.bin")
    monkeypatch.chdir(tmp_path / "folder")
    with prepare("model.onnx") as prepared:
        assert list(prepared.graph.weight_bytes.values()) == [4800]


@pytest.mark.parametrize(
    "location",
    ["../outside.bin", "sub/../../outside.bin", "/etc/passwd", "", "..\\outside.bin"],
)
def test_external_data_outside_the_folder_is_refused(external, location):
    with pytest.raises(ModelError, match="outside its own folder"):
        load_model(external(location))


def test_a_link_out_of_the_folder_is_refused(external, tmp_path):
    (tmp_path / "folder" / "link.bin").symlink_to(tmp_path / "outside.bin")
    with pytest.raises(ModelError, match="a link out of its own folder"):
        load_model(external("link.bin"))


def test_a_link_of_the_whole_model_is_followed(external, tmp_path):
    """Download caches keep models as links; the data lies where the link leads."""
    external("w.bin")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "model.onnx").symlink_to(tmp_path / "folder" / "model.onnx")
    (tmp_path / "cache" / "w.bin").symlink_to(tmp_path / "folder" / "w.bin")
    assert load_model(str(tmp_path / "cache" / "model.onnx")).n_bytes > 4800


def test_missing_external_data_is_refused(external):
    with pytest.raises(ModelError, match=r"'none\.bin' .* is missing"):
        load_model(external("none.bin"))


def test_a_folder_as_external_data_is_refused(external, tmp_path):
    (tmp_path / "folder" / "sub").mkdir()
    with pytest.raises(ModelError, match="is not a file"):
        load_model(external("sub"))


@pytest.mark.parametrize(
    "fields", [{"offset": 4}, {"length": 4804}, {"offset": -4}, {"offset": 10**15, "length": 1}]
)
def test_external_data_that_ends_too_early_is_refused(external, fields):
    with pytest.raises(ModelError, match="is cut off"):
        load_model(external("w.bin", **fields))


def test_a_place_that_is_no_number_is_refused(external):
    with pytest.raises(ModelError, match="gives its place as"):
        load_model(external("w.bin", offset="x"))


def test_external_data_that_was_cut_off_is_refused(external, tmp_path):
    path = external("w.bin")
    whole = (tmp_path / "folder" / "w.bin").read_bytes()
    (tmp_path / "folder" / "w.bin").write_bytes(whole[:-1])
    with pytest.raises(ModelError, match="is cut off"):
        load_model(path)


def test_a_cycle_is_refused(build, save):
    nodes = [
        node("Add", ["x", "b"], ["a"], name="first"),
        node("Relu", ["a"], ["b"], name="second"),
        node("Neg", ["b"], ["y"], name="after"),
    ]
    model = build(nodes, {"x": (FLOAT, [1])}, ["y"])
    with pytest.raises(ModelError, match="cycle through node 'first'"):
        load_model(save(model))


def test_a_node_that_reads_itself_is_refused(build, save):
    model = build([node("Add", ["x", "y"], ["y"], name="me")], {"x": (FLOAT, [1])}, ["y"])
    with pytest.raises(ModelError, match="cycle through node 'me'"):
        load_model(save(model))


def test_a_value_from_nowhere_is_refused(build, save):
    model = build([node("Add", ["x", "gone"], ["y"], name="n")], {"x": (FLOAT, [1])}, ["y"])
    with pytest.raises(ModelError, match="node 'n' reads 'gone', which nothing gives"):
        load_model(save(model))


def test_a_value_from_nowhere_inside_a_body_is_refused(build, save):
    def branch(name: str) -> onnx.GraphProto:
        return helper.make_graph(
            [node("Identity", ["gone"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, FLOAT, None)],
        )

    chooser = node("If", ["c"], ["y"], then_branch=branch("t"), else_branch=branch("e"))
    model = build([chooser], {"c": (TensorProto.BOOL, [])}, ["y"])
    with pytest.raises(ModelError, match="reads 'gone'"):
        load_model(save(model))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda m: setattr(m.graph.node[0], "op_type", "Nonsense"), "has no operator"),
        (lambda m: setattr(m.graph.node[0], "domain", "not.there"), "operator"),
        (lambda m: setattr(m.opset_import[0], "version", 4711), "opset 4711"),
        (lambda m: setattr(m, "ir_version", 4711), "IR version 4711"),
        (lambda m: m.graph.node[0].input.append("x"), "refuses the model"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 7), "refuses the model"),
        (lambda m: m.graph.node.append(m.graph.node[0]), "refuses the model"),
        (lambda m: m.graph.ClearField("output"), "has no outputs"),
        (lambda m: m.ClearField("opset_import"), "names no operator set"),
    ],
)
def test_what_onnxruntime_refuses_is_one_sentence(save, model, change, problem):
    change(model)
    with pytest.raises(ModelError, match=problem) as caught:
        prepare(save(model))
    assert "\n" not in caught.value.message
    assert "[ONNXRuntimeError]" not in caught.value.message
    assert len(caught.value.message) < 500


def test_no_implementation_on_the_cpu_is_said(build, save):
    nodes = [node("Hardmax", ["x"], ["y"])]
    model = build(nodes, {"x": (TensorProto.DOUBLE, [2])}, ["y"])
    with pytest.raises(ModelError, match="no implementation of operator Hardmax"):
        prepare(save(model))
