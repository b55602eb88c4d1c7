"""Sessions of the engine behind the server's ports: real sealed files, real passes."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from math import prod

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import inferonnx
from conftest import small_cnn
from inferonnx.app.host.needs import (
    GROWTH_MARGIN_BYTES,
    growing_bytes,
    sharing_bytes,
)
from inferonnx.app.host.opened_file import open_file
from inferonnx.app.host.serving import EngineOpener
from inferonnx.crypto import Secret
from inferonnx.errors import (
    AuthenticationError,
    InfeasibleBudgetError,
    SealedFormatError,
    TensorError,
    UsageError,
)
from inferonnx.oip import UnsupportedError
from inferonnx.plan import choose_resident
from inferonnx.server.pool import Pool
from inferonnx.server.scheduler import ModelQueue, QueueLimits
from inferonnx.server.threads import PassThreads
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
    opened.close()
    return key.data_key(opened.verified)


def manifest_of(path, key):
    opened = open_file(str(path), key=key)
    opened.close()
    return opened.manifest


@pytest.fixture
def opener():
    return EngineOpener()


def plain_answer(model, image):
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image})[0]


def test_facts_are_those_of_the_manifest(opener, sealed_cnn, key):
    facts = opener.facts(str(sealed_cnn), data_key_of(sealed_cnn, key), concurrency=1, n_rows=1)
    assert facts.name == "cnn"
    takes, gives = facts.signature.inputs, facts.signature.outputs
    assert [(v.name, v.shape) for v in takes] == [("image", (-1, 3, 16, 16))]
    assert [(v.name, v.shape) for v in gives] == [("scores", (-1, 10))]
    assert 0 < facts.pass_bytes < facts.least_bytes <= facts.full_bytes
    assert facts.is_batchable
    assert manifest_of(sealed_cnn, key).rows_independent


def test_calls_that_share_take_what_a_call_was_measured_to_take(opener, wide, key):
    path, secret = str(wide[1]), data_key_of(wide[1], key)
    one = opener.facts(path, secret, concurrency=1, n_rows=1)
    four = opener.facts(path, secret, concurrency=4, n_rows=1)
    manifest = manifest_of(path, key)
    more = sharing_bytes(manifest, 4) - sharing_bytes(manifest, 1)
    assert more == 3 * manifest.memory.call_bytes
    inputs = 4 * sum(map(prod, manifest.planned_shapes.values()))
    assert manifest.memory.call_bytes > inputs
    assert (four.pass_bytes, four.least_bytes) == (one.pass_bytes, one.least_bytes)
    assert four.full_bytes - one.full_bytes == more


def test_the_key_of_another_model_opens_nothing(opener, sealed_cnn):
    with pytest.raises(AuthenticationError):
        opener.facts(str(sealed_cnn), Secret(bytes(32)), concurrency=1, n_rows=1)
    with pytest.raises(AuthenticationError):
        opener.open(str(sealed_cnn), Secret(bytes(32)), share_bytes=1 << 30, concurrency=1)


def test_what_is_no_sealed_file_is_told(opener, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"text")
    with pytest.raises(SealedFormatError):
        opener.facts(str(path), Secret(bytes(32)), concurrency=1, n_rows=1)


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
    with pytest.raises(UnsupportedError, match="an output that is a sequence"):
        opener.facts(str(tmp_path / "m.sealed"), secret, concurrency=1, n_rows=1)


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_a_share_holds_weights_by_what_sealing_measured_alone(opener, wide, key, part):
    path, secret = str(wide[1]), data_key_of(wide[1], key)
    facts = opener.facts(path, secret, concurrency=2, n_rows=1)
    share = facts.least_bytes + int(part * (facts.full_bytes - facts.least_bytes))
    model = opener.open(path, secret, share_bytes=share, concurrency=2)
    manifest = manifest_of(path, key)
    blocks = [partition.block_bytes for partition in manifest.partitions]
    assert len(blocks) > 2
    second = sharing_bytes(manifest, 2) - manifest.arena.peak_bytes
    waiting = second if share - facts.least_bytes >= second else 0
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
    facts = opener.facts(path, secret, concurrency=1, n_rows=1)
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


def test_without_residency_a_share_of_any_size_streams_everything(wide, key, image):
    _, sealed = wide
    data_key, told = data_key_of(sealed, key), []
    opener = EngineOpener(resident=False, on_event=told.append)
    facts = opener.facts(str(sealed), data_key, concurrency=1, n_rows=1)
    assert (
        facts.full_bytes
        < EngineOpener().facts(str(sealed), data_key, concurrency=1, n_rows=1).full_bytes
    )  # more would have no use
    model = opener.open(str(sealed), data_key, share_bytes=1 << 30, concurrency=1)
    streamed = model.residency.streamed_bytes
    assert streamed
    for n_passes in (1, 2):
        model.run({"image": as_tensor(image)})
        assert model.opened_bytes == n_passes * streamed
    loads = [event.partition for event in told if event.what == "load"]
    assert len(loads) == 2 * len(set(loads))
    model.close()


def test_a_model_that_is_closed_can_be_opened_again_with_the_same_key(opener, sealed_cnn, key):
    secret = data_key_of(sealed_cnn, key)
    share = opener.facts(str(sealed_cnn), secret, concurrency=1, n_rows=1).full_bytes
    for _ in range(2):
        opener.open(str(sealed_cnn), secret, share_bytes=share, concurrency=1).close()


def test_the_full_share_has_room_for_a_batch_and_no_more(opener, wide, key):
    path, secret = str(wide[1]), data_key_of(wide[1], key)
    one = opener.facts(path, secret, concurrency=1, n_rows=1)
    four = opener.facts(path, secret, concurrency=1, n_rows=4)
    assert four.least_bytes == one.least_bytes
    more = 3 * growing_bytes(manifest_of(path, key), one.pass_bytes) + GROWTH_MARGIN_BYTES
    assert four.full_bytes - one.full_bytes == more
    model = opener.open(path, secret, share_bytes=four.full_bytes, concurrency=1)
    assert model.residency.streamed_bytes == 0
    assert model.residency.pass_bytes == one.pass_bytes + more
    assert model.fits({"image": (4, 3, 16, 16)})
    assert not model.fits({"image": (5, 3, 16, 16)})
    model.close()


class Served:
    """Two models behind a pool and a queue each, and what plain onnxruntime answers."""

    def __init__(self, opener, key, files, *, spare_bytes, n_rows):
        self.files = {(name, 1): pair for name, pair in files.items()}
        self.secrets = {m: data_key_of(path, key) for m, (_, path) in self.files.items()}
        self.needs = {
            m: opener.facts(str(path), self.secrets[m], concurrency=2, n_rows=n_rows)
            for m, (_, path) in self.files.items()
        }
        self.opener, self.n_rows = opener, n_rows
        self.total = max(facts.least_bytes for facts in self.needs.values()) + spare_bytes

    def run(self, work):
        """Return what `work` returns, and the statistics of each queue."""

        async def main(threads):
            pool = Pool(self.opener, total_bytes=self.total, concurrency=2, n_rows=self.n_rows)
            limits = QueueLimits(n_rows=self.n_rows)
            passes = PassThreads(threads, n_shared=4)
            self.queues = {m: ModelQueue(pool, m, limits, passes) for m in self.files}
            for model, (_, path) in self.files.items():
                await pool.admit(model, str(path), self.secrets[model])
            answers = await work()
            await asyncio.gather(*(queue.finish() for queue in self.queues.values()))
            assert pool.used_bytes <= self.total
            await pool.close()
            return answers

        with ThreadPoolExecutor(4) as threads:
            answers = asyncio.run(main(threads))
        assert all(secret == Secret(bytes(32)) for secret in self.secrets.values())
        return answers, {m: queue.statistics for m, queue in self.queues.items()}

    async def ask(self, model, image):
        answer = await self.queues[model].infer({"image": as_tensor(image)})
        expected = plain_answer(self.files[model][0], image)
        np.testing.assert_allclose(np.asarray(answer.outputs[0]), expected, rtol=1e-3, atol=1e-4)
        return answer


def images(n, rows):
    rng = np.random.default_rng(5)
    return [rng.standard_normal((rows(i), 3, 16, 16)).astype(np.float32) for i in range(n)]


def test_two_models_in_memory_for_one_take_turns(opener, wide, cnn, sealed_cnn, key):
    files = {"wide": wide, "cnn": (cnn, sealed_cnn)}
    served = Served(opener, key, files, spare_bytes=MIB, n_rows=8)
    assert served.total < sum(facts.least_bytes for facts in served.needs.values())

    async def work():
        return await asyncio.gather(
            *(served.ask(m, image) for image in images(12, lambda _: 1) for m in served.files)
        )

    answers, statistics = served.run(work)
    assert len(answers) == 24
    for counted in statistics.values():
        assert counted.success.count == 12
    assert statistics["wide", 1].streamed_bytes > 0


def test_many_callers_of_one_model_are_batched_and_get_their_own(opener, cnn, sealed_cnn, key):
    served = Served(opener, key, {"cnn": (cnn, sealed_cnn)}, spare_bytes=1 << 30, n_rows=8)
    model = ("cnn", 1)

    async def work():
        asked = [
            asyncio.ensure_future(served.ask(model, i)) for i in images(24, lambda i: 1 + i % 3)
        ]
        await asyncio.sleep(0)
        asked[5].cancel()
        with pytest.raises(TensorError):
            await served.queues[model].infer({"image": as_tensor(images(1, lambda _: 1)[0][:, :2])})
        return await asyncio.gather(*asked, return_exceptions=True)

    answers, statistics = served.run(work)
    assert isinstance(answers.pop(5), asyncio.CancelledError)
    assert not any(isinstance(answer, BaseException) for answer in answers)
    counted = statistics[model]
    assert (counted.success.count, counted.fail.count) == (23, 2)
    assert counted.n_executions < 12
    assert max(answer.timing.n_rows for answer in answers) > 3


def centred(path):
    """Write a model whose first axis is open and no batch: each row changes all others."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image"], ["mean"], axes=[0]),
            helper.make_node("Sub", ["image", "mean"], ["off"]),
            helper.make_node("Add", ["image", "off"], ["scores"]),
        ],
        "centred",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3, 16, 16])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def test_an_open_first_axis_that_is_no_batch_is_not_joined(opener, tmp_path, key):
    model, path = centred(tmp_path / "m.onnx"), tmp_path / "m.sealed"
    report = inferonnx.seal(model, path, key=key, memory="85MiB")
    assert "requests are not batched: the rows of a batch are not independent" in (
        report.planned.prepared.notes
    )
    served = Served(opener, key, {"m": (model, path)}, spare_bytes=1 << 30, n_rows=8)
    assert not served.needs["m", 1].is_batchable

    async def work():
        return await asyncio.gather(
            *(served.ask(("m", 1), image) for image in images(12, lambda i: 1 + i % 3))
        )

    answers, statistics = served.run(work)
    assert len(answers) == statistics["m", 1].n_executions == 12


PEAK = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
import inferonnx
from inferonnx.app.host.opened_file import open_file
from inferonnx.app.host.serving import EngineOpener
from inferonnx.runtime import process
from inferonnx.server.pool import Pool
from inferonnx.server.scheduler import ModelQueue, QueueLimits
from inferonnx.server.threads import PassThreads
from inferonnx.tensors import DType, Tensor

key, total, *paths = sys.argv[1:]
key = inferonnx.Key.load(key)
def secret(path):
    opened = open_file(path, key=key)
    opened.close()
    return key.data_key(opened.verified)
image = Tensor(dtype=DType.FLOAT, shape=(512, 3, 16, 16), data=bytes(512 * 3 * 256 * 4))
small = Tensor(dtype=DType.FLOAT, shape=(1, 3, 16, 16), data=bytes(3 * 256 * 4))
asks = {0: image, 1: small, 2: small}

async def main(threads):
    pool = Pool(EngineOpener(), total_bytes=int(total), concurrency=1)
    queues, threads = [], PassThreads(threads, n_shared=4)
    for i, path in enumerate(paths):
        await pool.admit((str(i), 1), path, secret(path))
        queues.append(ModelQueue(pool, (str(i), 1), QueueLimits(), threads))
    await queues[2].infer({"image": small})  # the environment, and one model that stays
    process.forget_peak()
    before = process.resident_bytes()
    used = pool.used_bytes
    for _ in range(3):
        await asyncio.gather(*(q.infer({"image": asks[i]}) for i, q in enumerate(queues)))
    print(process.peak_resident_bytes() - before, used)

with ThreadPoolExecutor(4) as threads:
    asyncio.run(main(threads))
"""


def test_models_that_come_and_go_keep_the_process_to_their_sum(
    sealed_deep, sealed_cnn, wide, key, key_path
):
    """What the first leaves in the arena is no memory for the second while the third is open."""
    paths = [sealed_deep, wide[1], sealed_cnn]
    needs = [
        EngineOpener().facts(str(path), data_key_of(path, key), concurrency=1, n_rows=1)
        for path in paths
    ]
    deep, wide_, small = (facts.least_bytes for facts in needs)
    total = deep + small + MIB
    assert wide_ + small < total < deep + wide_
    command = [sys.executable, "-c", PEAK, key_path, str(total), *paths]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    grown, used = map(int, done.stdout.split())
    assert grown <= total - used + MIB
