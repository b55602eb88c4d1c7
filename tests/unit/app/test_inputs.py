import numpy as np
import pytest
from onnx import numpy_helper

from inferonnx.app.inputs import load_samples, save_outputs
from inferonnx.errors import TensorError, UsageError
from inferonnx.tensors import as_tensor

NAMES = ("left", "right")


def save_pb(path, array, name=""):
    path.write_bytes(numpy_helper.from_array(array, name).SerializeToString())


@pytest.fixture
def arrays():
    return {"left": np.arange(6, dtype=np.float32).reshape(2, 3), "right": np.array([7], np.int64)}


def same(sample, arrays):
    assert set(sample) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(np.asarray(sample[name]), array)


def test_an_npz_names_its_tensors(tmp_path, arrays):
    np.savez(tmp_path / "x.npz", **arrays)
    same(load_samples(str(tmp_path / "x.npz"), NAMES)[0], arrays)


def test_files_without_names_bind_by_position(tmp_path, arrays):
    save_pb(tmp_path / "input_0.pb", arrays["left"])
    save_pb(tmp_path / "input_1.pb", arrays["right"])
    same(load_samples(str(tmp_path), NAMES)[0], arrays)


def test_a_name_wins_over_a_position(tmp_path, arrays):
    save_pb(tmp_path / "input_0.pb", arrays["right"], "right")
    save_pb(tmp_path / "input_1.pb", arrays["left"])
    same(load_samples(str(tmp_path), NAMES)[0], arrays)


def test_names_of_another_tool_bind_by_position(tmp_path, arrays):
    save_pb(tmp_path / "input_0.pb", arrays["left"], "foo")
    save_pb(tmp_path / "input_1.pb", arrays["right"], "bar")
    same(load_samples(str(tmp_path), NAMES)[0], arrays)


def test_inputs_are_taken_in_the_order_of_their_numbers(tmp_path):
    names = [f"i{i}" for i in range(12)]
    for i in range(12):
        save_pb(tmp_path / f"input_{i}.pb", np.array([i], np.int64))
    (sample,) = load_samples(str(tmp_path), names)
    assert [int(np.asarray(sample[name])[0]) for name in names] == list(range(12))


def test_a_folder_of_samples(tmp_path, arrays):
    for i in (0, 1, 10, 2):
        folder = tmp_path / f"test_data_set_{i}"
        folder.mkdir()
        save_pb(folder / "input_0.pb", arrays["left"] + i)
        np.save(folder / "input_1.npy", arrays["right"])
        save_pb(folder / "output_0.pb", arrays["left"])
    samples = load_samples(str(tmp_path), NAMES)
    assert [float(np.asarray(s["left"])[0, 0]) for s in samples] == [0, 1, 2, 10]


def test_a_single_npy_is_the_first_input(tmp_path, arrays):
    np.save(tmp_path / "x.npy", arrays["left"])
    assert set(load_samples(str(tmp_path / "x.npy"), NAMES)[0]) == {"left"}


@pytest.mark.parametrize("name", ["x.txt", "x.onnx", "x"])
def test_other_files_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UsageError, match="no input file"):
        load_samples(str(tmp_path / name), NAMES)


def test_an_empty_folder_and_a_missing_file_say_so(tmp_path):
    with pytest.raises(UsageError, match="no inputs in folder"):
        load_samples(str(tmp_path), NAMES)
    with pytest.raises(UsageError, match="No such file"):
        load_samples(str(tmp_path / "none.npz"), NAMES)


def test_an_unknown_name_lists_the_known_ones(tmp_path, arrays):
    np.savez(tmp_path / "x.npz", left=arrays["left"], middle=arrays["right"])
    with pytest.raises(TensorError, match="no input 'middle'") as caught:
        load_samples(str(tmp_path / "x.npz"), NAMES)
    assert "left, right" in caught.value.hint


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(TensorError, match=r"x\.npy"):
        load_samples(str(tmp_path / "x.npy"), NAMES)


def test_outputs_come_back(tmp_path, arrays):
    tensors = {name: as_tensor(array) for name, array in arrays.items()}
    save_outputs(str(tmp_path / "o.npz"), tensors)
    with np.load(tmp_path / "o.npz") as saved:
        for name, array in arrays.items():
            np.testing.assert_array_equal(saved[name], array)
    save_outputs(str(tmp_path / "o.npy"), {"left": tensors["left"]})
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), arrays["left"])
    with pytest.raises(UsageError, match="holds one tensor"):
        save_outputs(str(tmp_path / "p.npy"), tensors)
    with pytest.raises(UsageError, match=r"neither .npz nor .npy"):
        save_outputs(str(tmp_path / "p.csv"), tensors)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.npy", "o.npz"]
