import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from inferonnx.app.host.inputs import check_destination, find_samples, load_samples, save_outputs
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


@pytest.mark.parametrize("name", ["foo", "Left", "left "])
def test_a_name_that_the_model_has_not_is_never_a_position(tmp_path, arrays, name):
    save_pb(tmp_path / "input_0.pb", arrays["left"], name)
    save_pb(tmp_path / "input_1.pb", arrays["right"])
    with pytest.raises(TensorError, match=rf"input_0\.pb': the model has no input '{name}'"):
        load_samples(str(tmp_path), NAMES)
    np.savez(tmp_path / "x.npz", **{name: arrays["left"], "more": arrays["right"]})
    with pytest.raises(TensorError, match=f"the model has no input '{name}'"):
        load_samples(str(tmp_path / "x.npz"), NAMES)


def test_a_name_given_twice_and_a_tensor_too_many_are_refused(tmp_path, arrays):
    for i in range(2):
        save_pb(tmp_path / f"input_{i}.pb", arrays["left"], "left")
    with pytest.raises(TensorError, match=r"input_1\.pb': input 'left' is given twice"):
        load_samples(str(tmp_path), NAMES)
    for i in range(3):
        save_pb(tmp_path / f"input_{i}.pb", arrays["left"])
    with pytest.raises(TensorError, match=r"input_2\.pb': more tensors than"):
        load_samples(str(tmp_path), NAMES)


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
    save_outputs(str(tmp_path / "o.pb"), {"left": tensors["left"]})
    proto = onnx.load_tensor(tmp_path / "o.pb")
    assert proto.name == "left"
    np.testing.assert_array_equal(numpy_helper.to_array(proto), arrays["left"])
    for name in ("p.npy", "p.pb"):
        with pytest.raises(UsageError, match="holds one tensor"):
            save_outputs(str(tmp_path / name), tensors)
    with pytest.raises(UsageError, match=r"neither .npz nor .npy"):
        save_outputs(str(tmp_path / "p.csv"), tensors)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.npy", "o.npz", "o.pb"]


def test_the_bytes_are_those_of_numpy(tmp_path, arrays):
    np.savez(tmp_path / "numpy.npz", **arrays)
    save_outputs(str(tmp_path / "o.npz"), {n: as_tensor(a) for n, a in arrays.items()})
    np.save(tmp_path / "numpy.npy", arrays["left"])
    save_outputs(str(tmp_path / "o.npy"), {"left": as_tensor(arrays["left"])})
    assert (tmp_path / "o.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


@pytest.mark.parametrize("name", ["o.npz", "o.npy", "o.pb"])
def test_writing_makes_no_second_copy(tmp_path, name):
    array = np.ones(1 << 22, np.float32)  # 16 MiB
    tensor = as_tensor(array)
    tracemalloc.start()
    try:
        save_outputs(str(tmp_path / name), {"y": tensor})
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1 << 20


def test_outputs_never_replace_an_input(tmp_path, arrays):
    np.savez(tmp_path / "x.npz", **arrays)
    before = (tmp_path / "x.npz").read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        save_outputs(
            str(tmp_path / "x.npz"),
            {"left": as_tensor(arrays["left"])},
            inputs=[str(tmp_path / "x.npz")],
        )
    assert (tmp_path / "x.npz").read_bytes() == before


FLOAT, SEQUENCE = "tensor(float)", "seq(tensor(float))"


@pytest.mark.parametrize(
    ("path", "n_samples", "types", "words"),
    [
        ("o", 1, [], "neither"),
        ("o.csv", 1, [FLOAT], "neither"),
        ("o.npy", 1, [FLOAT, FLOAT], "one tensor"),
        ("o.pb", 1, [FLOAT, FLOAT], "one tensor"),
        ("o.npz", 1, [FLOAT, SEQUENCE], "seq"),
        ("o.npz", 2, [FLOAT], "of one sample"),
        ("o", 2, [SEQUENCE], "seq"),
    ],
)
def test_destinations_that_can_not_hold_outputs_are_refused(path, n_samples, types, words):
    with pytest.raises(UsageError, match=words):
        check_destination(path, n_samples=n_samples, output_types=types)


@pytest.mark.parametrize(
    ("path", "n_samples", "types"),
    [
        ("o.npz", 1, []),
        ("o.npz", 1, [FLOAT, FLOAT]),
        ("o.npy", 1, [FLOAT]),
        ("o.pb", 1, [FLOAT]),
        ("o", 2, [FLOAT, FLOAT]),
    ],
)
def test_destinations_that_can_are_not(path, n_samples, types):
    check_destination(path, n_samples=n_samples, output_types=types)


def test_samples_are_found_without_reading_them(tmp_path):
    for name in ("b.npz", "a10.npz", "a9.npz"):
        (tmp_path / name).write_bytes(b"no npz")
    found = find_samples(str(tmp_path))
    assert found == [(str(tmp_path / name),) for name in ("a9.npz", "a10.npz", "b.npz")]
