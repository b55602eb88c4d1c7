import gc
import json
import subprocess
import sys
import threading

import numpy as np
import onnx
import onnxruntime
import pytest

import inferonnx
from inferonnx.app.host import opening
from inferonnx.app.host.opening import open_unplanned
from inferonnx.app.host.values import check_declared, exported
from inferonnx.errors import (
    AuthenticationError,
    InfeasibleBudgetError,
    KeyMismatchError,
    PinError,
    SealedFormatError,
    TensorError,
    UsageError,
)
from inferonnx.runtime.process import resident_bytes
from inferonnx.sealed import Manifest, ValueInfo
from inferonnx.tensors import DType, Tensor
from serving.running import until

PLENTY = "4GiB"


@pytest.fixture(scope="module")
def key(key_path):
    return inferonnx.Key.load(key_path)


@pytest.fixture(scope="module")
def plain(cnn):
    return onnxruntime.InferenceSession(str(cnn), providers=["CPUExecutionProvider"])


def test_the_stream_computes_what_plain_onnxruntime_does(sealed_cnn, key, plain, image):
    with inferonnx.open(sealed_cnn, key=key, memory=PLENTY) as session:
        (mine,) = session.run(None, {"image": image})
    np.testing.assert_allclose(mine, plain.run(None, {"image": image})[0], rtol=1e-4, atol=1e-5)


def test_calls_that_wait_hold_no_copies_of_inputs_that_lie_askew(key, tmp_path):
    """As in a message, whose tensors begin anywhere."""
    image = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1 << 20])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1 << 20])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Neg", ["x"], ["y"])], "g", [image], [result]
    )
    onnx.save(onnx.helper.make_model(graph, ir_version=9), tmp_path / "neg.onnx")
    inferonnx.seal(tmp_path / "neg.onnx", tmp_path / "neg", key=key, memory=PLENTY)
    entered, leave = threading.Event(), threading.Event()

    def during(_event):
        entered.set()
        assert leave.wait(30)

    numbers = np.frombuffer(bytearray(b"\1" * (1 + (4 << 20))), np.uint8)[1:].data
    askew = Tensor(dtype=DType.FLOAT, shape=(1 << 20,), data=numbers, strings=None)
    with inferonnx.open(tmp_path / "neg", key=key, memory=PLENTY) as session:
        session.trace(during)
        found = []

        def call():
            found.append(session.run(None, {"x": askew})[0][-1])

        callers = [threading.Thread(target=call) for _ in range(9)]
        callers[0].start()
        assert entered.wait(30)
        before = resident_bytes()
        for caller in callers[1:]:
            caller.start()
        until(lambda: session._stream._turns.n_waiting == 8)
        assert resident_bytes() < before + (4 << 20)  # of 32
        leave.set()
        for caller in callers:
            caller.join()
    assert found == [-np.frombuffer(b"\1" * 4, np.float32)[0]] * 9


def test_a_session_is_shaped_like_onnxruntimes(sealed_cnn, key, plain):
    with inferonnx.open(sealed_cnn, key=key, memory=PLENTY) as session:
        for mine, theirs in (
            (session.get_inputs(), plain.get_inputs()),
            (session.get_outputs(), plain.get_outputs()),
        ):
            assert [(v.name, v.type, list(v.shape)) for v in mine] == [
                (v.name, v.type, v.shape) for v in theirs
            ]
        assert session.metadata["author"] == "the tests"
        assert session.name == "cnn"


def test_outputs_are_chosen_by_name(sealed_cnn, key, image):
    with inferonnx.open(sealed_cnn, key=key, memory=PLENTY) as session:
        assert len(session.run(["scores"], {"image": image})) == 1
        with pytest.raises(UsageError, match="no output 'nothing'"):
            session.run(["nothing"], {"image": image})


@pytest.mark.parametrize(
    ("arguments", "sentence", "hint"),
    [
        ((None, [1]), "not of type list", "{'image': ...}"),
        ((None, None), "not None", "{'image': ...}"),
        ((None, "image"), "not of type str", "{'image': ...}"),
        (("scores", {}), "not of type str", "a list of: scores."),
        ((3, {}), "not of type int", "a list of: scores."),
        (([3], {}), "no output 3", "It has: scores."),
    ],
)
def test_arguments_of_another_kind_are_one_sentence(sealed_cnn, key, arguments, sentence, hint):
    with inferonnx.open(sealed_cnn, key=key, memory=PLENTY) as session:
        with pytest.raises(UsageError, match=sentence) as caught:
            session.run(*arguments)
        assert hint in caught.value.hint


@pytest.mark.parametrize("memory", [1.5, b"85MiB", [85], True])
def test_a_budget_that_is_no_size_is_one_sentence(sealed_cnn, cnn, key, tmp_path, memory):
    for refused in (
        lambda: inferonnx.open(sealed_cnn, key=key, memory=memory),
        lambda: inferonnx.seal(cnn, tmp_path / "x.sealed", key=key, memory=memory),
    ):
        with pytest.raises(UsageError, match="is not a size") as caught:
            refused()
        assert "85MiB" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_outputs_may_be_named_by_anything_that_gives_names(sealed_cnn, key, image):
    with inferonnx.open(sealed_cnn, key=key, memory=PLENTY) as session:
        assert len(session.run((v.name for v in session.get_outputs()), {"image": image})) == 1


def test_nothing_resident_gives_the_same_bits_as_all_resident(sealed_cnn, key, image):
    with inferonnx.open(sealed_cnn, key=key, memory=PLENTY) as session:
        assert session.figures.streamed_bytes == 0
        resident = session.run(None, {"image": image})[0]
    with open_unplanned(str(sealed_cnn), key=key) as session:
        assert session.figures.resident_bytes == 0
        assert session.figures.streamed_bytes > 0
        for _ in range(2):
            streamed = session.run(None, {"image": image})[0]
            assert isinstance(streamed, Tensor)
            np.testing.assert_array_equal(np.asarray(streamed), resident)


def test_without_residency_every_pass_reads_all_weights_again(sealed_cnn, key, plain, image):
    with inferonnx.open(sealed_cnn, key=key, memory="1GiB", resident=False) as session:
        figures = session.figures
        assert figures.resident_bytes == 0 < figures.streamed_bytes
        for n_passes in (1, 2, 3):
            scores = session.run(None, {"image": image})[0]
            assert session.opened_bytes == n_passes * figures.streamed_bytes
            shared = session._stream._shared.view  # nothing is left of the last block either
            assert not any(shared)
    np.testing.assert_allclose(scores, plain.run(None, {"image": image})[0], rtol=1e-4)


def test_what_is_read_and_when_depends_on_model_and_shapes_alone(sealed_cnn, key, image):
    traces = []
    with open_unplanned(str(sealed_cnn), key=key) as session:
        for value in (image, image * 0, image * 1e30, np.full_like(image, np.nan)):
            events = []
            session.trace(events.append)
            session.run(None, {"image": value})
            traces.append([(event.what, event.partition, event.segment) for event in events])
    n_partitions = session.figures.n_partitions
    assert [p for what, p, _ in traces[0] if what == "compute"] == list(range(n_partitions))
    read = [segment for what, _, segment in traces[0] if what == "read"]
    assert read == sorted(set(read))
    assert read
    assert all(trace == traces[0] for trace in traces)


def test_the_probe_is_part_of_opening_where_the_file_has_one(cnn, sealed_cnn, key, tmp_path):
    generic = tmp_path / "generic.sealed"
    inferonnx.seal(cnn, generic, key=key, memory="85MiB", target="generic")
    with inferonnx.open(generic, key=key, memory=PLENTY) as session:
        assert session.figures.probe_ms is None
    with inferonnx.open(sealed_cnn, key=key, memory=PLENTY) as session:
        assert 0 < session.figures.probe_ms < session.figures.open_ms


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "input 'image' is missing"),
        ({"image": np.zeros((1, 3, 16, 16)), "x": np.zeros(1)}, "no input 'x'"),
        ({"image": np.zeros((1, 3, 16, 16), np.float64)}, "double"),
        ({"image": np.zeros((3, 16, 16), np.float32)}, "rank|axes|shape"),
        ({"image": np.zeros((1, 3, 16, 15), np.float32)}, "15|16"),
    ],
)
def test_wrong_inputs_are_said_in_a_sentence(sealed_cnn, key, inputs, message):
    with (
        inferonnx.open(sealed_cnn, key=key, memory=PLENTY) as session,
        pytest.raises(TensorError, match=message),
    ):
        session.run(None, inputs)


def test_larger_inputs_than_planned_are_refused_when_the_budget_may_break(sealed_cnn, key):
    big = np.zeros((1 << 14, 3, 16, 16), np.float32)
    with inferonnx.open(sealed_cnn, key=key, memory=PLENTY) as session:
        with pytest.raises(InfeasibleBudgetError, match="larger than the model was planned for"):
            session.run(None, {"image": big})
        small = np.zeros((2, 3, 16, 16), np.float32)
        assert session.run(None, {"image": small})[0].shape == (2, 10)


def test_a_budget_below_the_least_names_the_least(sealed_cnn, key):
    with pytest.raises(InfeasibleBudgetError, match="needs at least") as caught:
        inferonnx.open(sealed_cnn, key=key, memory="1MiB")
    assert caught.value.needed_bytes > caught.value.budget_bytes == 1 << 20


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_calls_of_many_threads_get_their_own_answers(sealed_cnn, key, plain, concurrency):
    rng = np.random.default_rng(3)
    images = [rng.standard_normal((1, 3, 16, 16)).astype(np.float32) for _ in range(8)]
    answers = {}
    with inferonnx.open(sealed_cnn, key=key, memory=PLENTY, concurrency=concurrency) as session:

        def work(i):
            for _ in range(5):
                answers[i] = session.run(None, {"image": images[i]})[0]

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for i, picture in enumerate(images):
        known = plain.run(None, {"image": picture})[0]
        np.testing.assert_allclose(answers[i], known, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def sealed_batch(cnn, key, tmp_path_factory):
    """The small model for 128 images at once: activations of 8 MiB, weights of 0.1."""
    path = tmp_path_factory.mktemp("batch") / "batch.sealed"
    inferonnx.seal(cnn, path, key=key, memory="200MiB", dims={"batch": 128})
    return path


AT_ONCE = """
import json, sys, threading
from inferonnx.app.host.keys import Key
from inferonnx.app.host.opening import open as open_sealed
from inferonnx.runtime.process import peak_resident_bytes
from inferonnx.tensors import DType, Tensor

path, key, memory, concurrency = sys.argv[1:]
image = Tensor(dtype=DType.FLOAT, shape=(128, 3, 16, 16), data=memoryview(bytes(128 * 3 * 1024)))
calls = int(concurrency)
with open_sealed(
    path, key=Key.load(key), memory=memory, concurrency=calls, as_numpy=False
) as session:
    session.run(None, {"image": image})
    meet = threading.Barrier(calls)

    def work():
        for _ in range(10):
            meet.wait()
            session.run(None, {"image": image})

    threads = [threading.Thread(target=work) for _ in range(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figures = session.figures
print(json.dumps({"measured": peak_resident_bytes(), **figures._asdict()}))
"""


@pytest.mark.parametrize(("memory", "concurrency"), [("80MiB", 6), ("200MiB", 1), ("200MiB", 6)])
def test_calls_at_once_keep_the_budget(sealed_batch, key_path, memory, concurrency):
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-c", AT_ONCE),
            *(str(sealed_batch), str(key_path), memory, str(concurrency)),
        ],
        stdout=subprocess.PIPE,
        check=True,
    )
    figures = json.loads(done.stdout)
    assert figures["streamed_bytes"] == 0
    assert figures["measured"] <= figures["peak_bytes"] <= figures["budget_bytes"]
    if memory == "200MiB":
        assert figures["n_parallel"] == concurrency
    else:
        assert 1 < figures["n_parallel"] < concurrency


def test_calls_run_at_once_only_where_all_is_resident(sealed_batch, key):
    with inferonnx.open(sealed_batch, key=key, memory=PLENTY) as session:
        alone = session.figures
        assert alone.n_parallel == alone.concurrency == 1
    with inferonnx.open(sealed_batch, key=key, memory=PLENTY, concurrency=3) as session:
        assert session.figures.n_parallel == 3
        assert session.figures.pass_bytes > alone.pass_bytes + 2 * 8 * 2**20  # activations
    with open_unplanned(str(sealed_batch), key=key) as session:
        assert session.figures.n_parallel == 1


def test_two_models_open_at_once(sealed_cnn, key, image):
    with (
        inferonnx.open(sealed_cnn, key=key, memory=PLENTY) as one,
        inferonnx.open(sealed_cnn, key=key, memory=PLENTY) as two,
    ):
        np.testing.assert_array_equal(
            one.run(None, {"image": image})[0], two.run(None, {"image": image})[0]
        )


def test_a_closed_session_says_so(sealed_cnn, key, image):
    session = inferonnx.open(sealed_cnn, key=key, memory=PLENTY)
    session.close()
    session.close()
    with pytest.raises(UsageError, match="closed"):
        session.run(None, {"image": image})


def test_a_flipped_bit_anywhere_is_refused_before_an_answer(sealed_cnn, key, image, tmp_path):
    content = sealed_cnn.read_bytes()
    forged = tmp_path / "forged.sealed"
    for place in range(16, len(content), max(1, len(content) // 97)):
        changed = bytearray(content)
        changed[place] ^= 0x10
        forged.write_bytes(changed)
        with (
            pytest.raises(
                (AuthenticationError, SealedFormatError, KeyMismatchError, inferonnx.InferonnxError)
            ) as caught,
            inferonnx.open(forged, key=key, memory=PLENTY) as session,
        ):
            session.run(None, {"image": image})
        assert caught.value.exit_code == 3, place


def test_a_file_that_shrinks_while_it_is_open_is_refused(sealed_cnn, key, image, tmp_path):
    copy = tmp_path / "copy.sealed"
    copy.write_bytes(sealed_cnn.read_bytes())
    with open_unplanned(str(copy), key=key) as session:
        session.run(None, {"image": image})
        with copy.open("r+b") as file:
            file.truncate(400)
        with pytest.raises(SealedFormatError, match="too early"):
            session.run(None, {"image": image})


def test_errors_of_the_engine_name_nothing_of_the_model(sealed_cnn, key):
    with (
        inferonnx.open(sealed_cnn, key=key, memory=PLENTY) as session,
        pytest.raises(TensorError) as caught,
    ):
        session.run(None, {"image": np.zeros((1, 3, 1, 1), np.float32)})
    assert "secret" not in str(caught.value)


def test_a_budget_that_nothing_streams_into_is_kept_too(key, tmp_path):
    relu = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Relu", ["x"], ["y"])],
            "g",
            [onnx.helper.make_tensor_value_info("x", 1, [4])],
            [onnx.helper.make_tensor_value_info("y", 1, [4])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(relu, tmp_path / "relu.onnx")
    inferonnx.seal(tmp_path / "relu.onnx", tmp_path / "relu.sealed", key=key, memory="85MiB")
    with inferonnx.open(tmp_path / "relu.sealed", key=key, memory=PLENTY) as session:
        np.testing.assert_array_equal(
            session.run(None, {"x": np.array([-1, 0, 1, 2], np.float32)})[0], [0, 0, 1, 2]
        )
        held = session.figures.floor_bytes
    with pytest.raises(InfeasibleBudgetError):
        inferonnx.open(tmp_path / "relu.sealed", key=key, memory=held // 2)


@pytest.mark.parametrize("way", ["open", "open_beside", "open_unplanned"])
def test_the_opened_manifest_goes_before_the_floor_is_measured(way, sealed_cnn, key, monkeypatch):
    """Else its skeletons, several MiB of large models, would be kept from the weights."""
    left = []
    measure = opening.measure_held

    def look(*arguments, **more):
        gc.collect()
        left.extend(m for m in gc.get_objects() if isinstance(m, Manifest) and m.tags)
        return measure(*arguments, **more)

    monkeypatch.setattr(opening, "measure_held", look)
    more = {
        "open": {"memory": PLENTY},
        "open_beside": {"share_bytes": 1 << 32, "concurrency": 1},
        "open_unplanned": {},
    }[way]
    getattr(opening, way)(str(sealed_cnn), key=key, **more).close()
    assert not left


def test_a_pin_may_be_text(sealed_cnn, key):
    pin = f"owner={key.public_key},release=3,name=cnn"
    inferonnx.open(sealed_cnn, key=key, memory=PLENTY, pin=pin).close()
    with pytest.raises(PinError):
        inferonnx.open(sealed_cnn, key=key, memory=PLENTY, pin=pin.replace("=3", "=4"))
    with pytest.raises(UsageError):
        inferonnx.open(sealed_cnn, key=key, memory=PLENTY, pin="nonsense")


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("seq(tensor(float))", np.zeros(1, np.float32), "must be a list"),
        ("seq(tensor(float))", [np.zeros(1, np.int64)], "int64"),
        ("seq(tensor(float))", [[np.zeros(1, np.float32)]], "each element"),
        ("map(string,tensor(float))", [np.zeros(1, np.float32)], "must be a dict"),
        ("map(string,tensor(float))", {"a": 1.0, 1: 2.0}, "keys all str"),
        ("map(int64,tensor(float))", {"a": 1.0}, "keys all int"),
        ("map(string,tensor(float))", {"a": 1.0, "b": np.int64(2)}, "int64"),
        ("map(string,tensor(float))", {"a": np.zeros(1, np.float32)}, "scalar"),
        ("map(string,tensor(int64))", {"a": 2**63}, "can't hold"),
        ("map(string,tensor(int64))", {"a": 0.5}, "can't hold"),
        ("map(string,tensor(float))", {"a": 1e39}, "can't hold"),
        ("map(string,tensor(string))", {"a": 1}, "can't hold"),
        ("seq(map(string,tensor(float)))", {"a": 1.0}, "must be a list"),
        ("seq(map(string,tensor(float)))", [np.zeros(1, np.float32)], "must be a dict"),
        ("tensor(float)", [np.zeros(1, np.float32)], "must be one"),
    ],
)
def test_values_of_another_kind_are_said_in_a_sentence(kind, value, words):
    declared = ValueInfo(name="things", type=kind, shape=None)
    with pytest.raises(TensorError, match=words):
        check_declared(declared, exported(value, kind))
