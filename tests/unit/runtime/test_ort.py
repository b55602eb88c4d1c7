import array
import gc
import mmap
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from onnx import TensorProto, helper

from inferonnx.errors import EngineError
from inferonnx.runtime.ort import Environment, OrtSession
from inferonnx.runtime.ort_values import borrow, dump, load
from inferonnx.runtime.process import PrivateBuffer
from inferonnx.tensors import DType, Tensor
from pages import resident_within


def model(nodes, inputs, outputs, opset=17):
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
    ).SerializeToString()


def value(name, dtype=TensorProto.FLOAT, shape=None):
    return helper.make_tensor_value_info(name, dtype, shape)


def numbers(tensor):
    return list(tensor.data.cast("f"))


def test_run_reads_weights_from_the_buffer_that_they_are_bound_to(environment, floats):
    product = model(
        [helper.make_node("Mul", ["x", "w"], ["y"])], [value("x"), value("w")], [value("y")]
    )
    session = OrtSession(environment, product, ["x"], ["y"], ["w"])
    buffer = PrivateBuffer(8)
    session.bind([borrow(environment, buffer, buffer.address, (DType.FLOAT, (2,), 8))])
    x = load(environment, floats(1, 2))
    for weights in ((3.0, 4.0), (5.0, 6.0)):
        buffer.view[:] = array.array("f", weights).tobytes()
        (y,) = session.run([x])
        assert numbers(dump(environment, y)) == [weights[0], 2 * weights[1]]
    session.close()
    buffer.close()


@pytest.mark.parametrize("location", ["ADDRESS", "file", "/PATH/file", "../../../../PATH/file"])
@pytest.mark.parametrize("where", ["an initializer", "a constant"])
def test_a_skeleton_reads_neither_files_nor_memory(
    environment, floats, tmp_path, monkeypatch, location, where
):
    """Both are there and hold what an owner of another model might want."""
    held = array.array("f", [1234.5, 777.25])
    (tmp_path / "file").write_bytes(held.tobytes())
    monkeypatch.chdir(tmp_path)
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    weight.data_location = TensorProto.EXTERNAL
    fields = {"location": location.replace("/PATH", str(tmp_path)), "offset": 0, "length": 8}
    if location == "ADDRESS":
        # onnxruntime's own mark of weights that are in memory, at the address of the offset.
        fields |= {"location": "*/_ORT_MEM_ADDR_/*", "offset": held.buffer_info()[0]}
    for name, text in fields.items():
        weight.external_data.add(key=name, value=str(text))
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    if where == "a constant":
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=weight))
    graph = helper.make_graph(nodes, "g", [value("x")], [value("y")])
    if where == "an initializer":
        graph.initializer.append(weight)
    opsets = [helper.make_opsetid("", 17)]
    skeleton = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    with pytest.raises(EngineError, match="could not load a partition"):
        OrtSession(environment, skeleton, ["x"], ["y"])


def test_calls_of_one_session_run_at_once_on_inputs_of_their_own(environment, floats):
    product = model(
        [helper.make_node("Mul", ["x", "w"], ["y"])], [value("x"), value("w")], [value("y")]
    )
    session = OrtSession(environment, product, ["x"], ["y"], ["w"])
    n = 1000
    buffer = PrivateBuffer(4 * n)
    buffer.view[:] = array.array("f", [2.0] * n).tobytes()
    session.bind([borrow(environment, buffer, buffer.address, (DType.FLOAT, (n,), 4 * n))])
    wrong, start = [], threading.Barrier(4)

    def work(i):
        x = load(environment, floats(*[i] * n))
        start.wait()
        for _ in range(300):
            (y,) = session.run([x])
            if numbers(dump(environment, y)) != [2.0 * i] * n:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    session.close()
    buffer.close()


def test_a_broken_skeleton_is_an_error_that_keeps_onnxruntimes_words_private(environment):
    secret = model(
        [helper.make_node("NoSuchOperator", ["x"], ["y"], name="secret_layer")],
        [value("x")],
        [value("y")],
    )
    with pytest.raises(EngineError) as caught:
        OrtSession(environment, secret, ["x"], ["y"])
    assert "NoSuchOperator" in caught.value.private_text
    assert "NoSuch" not in str(caught.value) + caught.value.where + caught.value.hint


def test_a_failing_run_is_an_error_that_keeps_names_private(environment, floats):
    concat = model(
        [helper.make_node("Concat", ["x", "secret_y"], ["z"], axis=0)],
        [value("x"), value("secret_y")],
        [value("z")],
    )
    session = OrtSession(environment, concat, ["x", "secret_y"], ["z"])
    with pytest.raises(EngineError) as caught:
        session.run(
            [
                load(environment, floats(1, 2, shape=(1, 2))),
                load(environment, floats(1, 2, 3, shape=(1, 3))),
            ]
        )
    assert "secret" not in str(caught.value)
    session.close()


def test_one_environment_a_process_that_lives_as_long_as_its_values(floats):
    first = Environment.acquire(n_threads=1, spin=False, arena_strategy=0, arena_bytes=0)
    second = Environment.acquire(n_threads=2, spin=True, arena_strategy=1, arena_bytes=0)
    assert first is second
    value = load(first, [floats(1)])
    pointer = first.pointer
    del first, second
    third = Environment.acquire(n_threads=1, spin=False, arena_strategy=0, arena_bytes=0)
    assert third.pointer == pointer
    assert dump(third, value) == [floats(1)]


def test_the_version_is_the_one_that_is_pinned(environment):
    import importlib.metadata

    assert environment.version == importlib.metadata.version("onnxruntime")


def test_an_environment_on_its_way_out_is_given_to_nobody(monkeypatch, floats):
    settings = {"n_threads": 1, "spin": False, "arena_strategy": 0, "arena_bytes": 0}
    held = [Environment.acquire(**settings)]
    api, release = held[0].api, held[0].api.release
    releasing, go_on, order = threading.Event(), threading.Event(), []

    def slowly(kind, pointer):
        releasing.set()
        go_on.wait()
        release(kind, pointer)
        order.append(kind)

    def again():
        held.append(Environment.acquire(**settings))
        order.append("acquired")

    gc.collect()
    monkeypatch.setattr(api, "release", slowly)
    first = threading.Thread(target=held.clear)
    first.start()
    assert releasing.wait(30), "something else still holds the environment"
    second = threading.Thread(target=again)
    second.start()
    second.join(0.2)  # time enough to be given what is half released
    go_on.set()
    first.join()
    second.join()
    monkeypatch.undo()
    ended = order[: order.index("Env") + 1]  # what trims an arena may be part of it
    assert ended[-3:] == ["SessionOptions", "MemoryInfo", "Env"]
    assert order[-1] == "acquired"
    assert dump(held[0], load(held[0], [floats(1)])) == [floats(1)]


GROWING = """
import array, sys
from onnx import helper
from inferonnx.runtime.ort import Environment, OrtSession
from inferonnx.runtime.ort_values import load
from inferonnx.runtime.process import resident_bytes
from inferonnx.tensors import DType, Tensor

info = helper.make_tensor_value_info
graph = helper.make_graph(
    [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Neg", ["a"], ["y"])],
    "g", [info("x", 1, ["n"])], [info("y", 1, ["n"])],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
environment = Environment.acquire(n_threads=1, spin=False, arena_strategy=1, arena_bytes=0)
environment.prepare_trim()
session = OrtSession(environment, model.SerializeToString())
def run(n):
    data = memoryview(array.array("f", bytes(4 * n))).cast("B")
    session.run([load(environment, Tensor(dtype=DType.FLOAT, shape=(n,), data=data))])
run(1)
first = resident_bytes()
for i in range(1, 17):
    run(i << 18)  # 1 to 16 MiB
grown = resident_bytes()
environment.trim()
trimmed = resident_bytes()
run(1 << 18)  # and goes on
for i in range(1, 17):
    run(i << 18)
del session, environment
print(first, grown, trimmed, resident_bytes())
"""


def test_what_sizes_left_in_the_arena_is_given_back():
    done = subprocess.run([sys.executable, "-c", GROWING], stdout=subprocess.PIPE, check=True)
    first, grown, trimmed, ended = map(int, done.stdout.split())
    assert grown > first + (60 << 20)  # each size has left its own
    assert trimmed < first + (2 << 20)
    assert ended < first + (2 << 20)  # and nothing outlives the environment


def limited(limit_bytes, strategy=1):
    """Return a new environment whose arena has a limit; 0 is none."""
    gc.collect()  # errors of tests before hold the last one
    return Environment.acquire(
        n_threads=1,
        spin=False,
        arena_strategy=strategy,
        arena_bytes=0,
        arena_limit_bytes=limit_bytes,
    )


@pytest.mark.parametrize("strategy", [0, 1])
def test_what_is_withheld_no_pass_can_have(strategy):
    """It takes no memory, and is there again when it is closed."""
    environment = limited(64 << 20, strategy)
    environment.withhold(0).close()
    withheld = environment.withhold(48 << 20)
    # At both ends of a piece a page may be a neighbour's.
    assert sum(resident_within(at, 1 << 20) for at in withheld._pieces) <= 48 * 2 * mmap.PAGESIZE
    with pytest.raises(EngineError) as caught:
        environment.withhold(24 << 20)
    assert "is smaller than requested bytes" in caught.value.private_text
    environment.withhold(8 << 20).close()
    withheld.close()
    withheld.close()
    environment.withhold(48 << 20).close()


@pytest.mark.parametrize("has_limit", [True, False])
def test_copies_of_outputs_are_withheld_from_passes_until_they_are_gone(has_limit):
    """Also where somebody has a part of one; and they are not made where there is no room."""
    environment = limited(64 << 20 if has_limit else 0)
    data = memoryview(bytes(24 << 20))
    value = load(environment, Tensor(dtype=DType.UINT8, shape=(len(data),), data=data))
    copy = dump(environment, value)
    part = copy.data[5:6]
    del copy
    if has_limit:
        with pytest.raises(EngineError):
            environment.withhold(48 << 20)
        held = environment.withhold(32 << 20)
        with pytest.raises(EngineError):
            dump(environment, value)
        held.close()
    else:
        dump(environment, value)
    del part
    environment.withhold(56 << 20).close()


def test_copies_may_go_in_any_thread_and_after_their_environment():
    environment = limited(64 << 20)
    data = memoryview(bytes(8 << 20))
    value = load(environment, Tensor(dtype=DType.UINT8, shape=(len(data),), data=data))
    copies = [dump(environment, value) for _ in range(4)]
    del environment, value
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: copies.pop(), range(4)))
    environment = limited(16 << 20)  # a new one: the last went with the last copy
    environment.withhold(8 << 20).close()
    with pytest.raises(EngineError):
        environment.withhold(24 << 20)
