"""tract beside us: the real one, whole and in partitions, from every storage."""

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from chains import extracted
from inferonnx.bench.encrypted_files import encrypt_file
from inferonnx.bench.tract_peer import STORAGES, PeerLink, TractChain, fact, tract_module
from inferonnx.crypto import Secret
from inferonnx.errors import ModelError, UnavailableError
from inferonnx.model.plain import PlainModel
from machine import package

KEY = Secret(bytes(32))


@pytest.fixture(scope="module", autouse=True)
def tract():
    return package("tract")


@pytest.fixture(scope="module")
def halves(cnn, tmp_path_factory):
    """The small model in two files, as any tool would cut it."""
    folder = tmp_path_factory.mktemp("halves")
    paths = [str(folder / "first.onnx"), str(folder / "second.onnx")]
    extracted(cnn, paths[0], "image", "r1")
    extracted(cnn, paths[1], "r1", "scores")
    return [PeerLink(paths[0], ["image"], ["r1"]), PeerLink(paths[1], ["r1"], ["scores"])]


@pytest.fixture
def whole(cnn):
    return [PeerLink(str(cnn), ["image"], ["scores"])]


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("form", ["whole", "halves"])
def test_tract_computes_what_onnxruntime_does(form, storage, cnn, image, tmp_path, request):
    links = request.getfixturevalue(form)
    if storage == "disk-encrypted":
        links = [encrypted(link, tmp_path / f"{i}.aes") for i, link in enumerate(links)]
    chain = TractChain(links, storage=storage, key=KEY if storage == "disk-encrypted" else None)
    for sample in (image, image + 1):
        (found,) = chain.run({"image": sample}, ["scores"])
        np.testing.assert_allclose(
            found, PlainModel(cnn).run({"image": sample})["scores"], rtol=1e-4, atol=1e-5
        )


def encrypted(link, target):
    encrypt_file(link.path, str(target), KEY)
    return PeerLink(str(target), link.inputs, link.outputs)


def test_what_is_on_disk_is_read_again_and_what_is_in_memory_is_not(cnn, image, tmp_path):
    for storage, reads_again in (("memory", False), ("disk", True)):
        path = tmp_path / f"{storage}.onnx"
        path.write_bytes(cnn.read_bytes())
        chain = TractChain([PeerLink(str(path), ["image"], ["scores"])], storage=storage, key=None)
        chain.run({"image": image}, ["scores"])
        path.write_bytes(b"no model")
        if reads_again:
            with pytest.raises(ModelError, match="can't run"):
                chain.run({"image": image}, ["scores"])
        else:
            chain.run({"image": image}, ["scores"])


def test_several_inputs_and_outputs_keep_their_order(tmp_path):
    def value(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"])

    nodes = [
        helper.make_node("Sub", ["b", "a"], ["difference"]),
        helper.make_node("Neg", ["a"], ["negative"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [value("a"), value("b")], [value("negative"), value("difference"), value("b")]
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "two.onnx",
    )
    link = PeerLink(str(tmp_path / "two.onnx"), ["a", "b"], ["negative", "difference", "b"])
    sample = {"a": np.float32([1, 2]), "b": np.float32([5, 7])}
    found = TractChain([link], storage="memory", key=None).run(sample, ["difference", "b"])
    assert [array.tolist() for array in found] == [[4, 5], [5, 7]]


def test_an_operator_that_tract_has_not_is_told_in_a_sentence(tmp_path):
    node = helper.make_node("NoSuchOperator", ["a"], ["b"])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "ab"]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph, ir_version=8), tmp_path / "odd.onnx")
    chain = TractChain(
        [PeerLink(str(tmp_path / "odd.onnx"), ["a"], ["b"])], storage="memory", key=None
    )
    with pytest.raises(ModelError, match=r"tract .* can't run .*odd.onnx") as caught:
        chain.run({"a": np.zeros(2, np.float32)}, ["b"])
    assert "\n" not in caught.value.message
    assert "backtrace" not in caught.value.message


def test_types_and_shapes_are_told_in_tracts_words():
    assert fact(np.zeros((1, 3), np.float32)) == "1,3,f32"
    assert fact(np.zeros((), np.int64)) == "i64"
    assert fact(np.zeros((2,), np.uint8)) == "2,u8"
    assert fact(np.zeros((2,), bool)) == "2,bool"
    with pytest.raises(ModelError, match="no elements of type object"):
        fact(np.array(["text"], object))


def test_a_missing_tract_is_told_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tract", None)
    with pytest.raises(UnavailableError, match="not installed") as caught:
        tract_module()
    assert "inferonnx[paper]" in caught.value.hint
