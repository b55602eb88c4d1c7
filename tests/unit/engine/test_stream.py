"""The pass over a really sealed file, with a computation that can be read: sums of bytes."""

import io
import threading
import time
from dataclasses import dataclass

import pytest

from inferonnx.crypto import SUITES, Secret
from inferonnx.engine import BlockLoader, Stream
from inferonnx.errors import AuthenticationError, EngineError, SealedFormatError, UsageError
from inferonnx.sealed import (
    HEADER_BYTES,
    Arena,
    Manifest,
    Memory,
    OwnerKey,
    Partition,
    SealWriter,
    SegmentOpener,
    Target,
    ValueInfo,
    file_keys,
    lay_out_weights,
    open_manifest,
    parse_header,
    unwrap_data_key,
    verify_header,
)

UINT8 = 2
MIB = 1 << 20
SIZES = (64, 3 * MIB + 640, 0, MIB, 128)


def partition(i, n_bytes):
    return Partition(
        inputs=(f"v{i}",),
        outputs=(f"v{i + 1}",),
        weights=lay_out_weights([(f"w{i}", UINT8, (n_bytes,))] if n_bytes else []),
        skeleton=b"%d" % i,
        n_nodes=1,
        activation_bytes=8,
        time_us=1,
    )


def seal_sums(*outputs):
    """Return a sealed file of partitions v0 to v5, and its key."""
    key = OwnerKey.from_secrets(wrap_secret=Secret(bytes(32)), signing_seed=Secret(bytes(32)))
    partitions = tuple(partition(i, n) for i, n in enumerate(SIZES))
    tensor = {"type": "tensor(float)", "shape": None}
    manifest = Manifest(
        name="sums",
        producer="tests",
        strategy="optimal",
        metadata={},
        inputs=(ValueInfo(name="v0", **tensor),),
        outputs=tuple(ValueInfo(name=name, **tensor) for name in outputs),
        partitions=partitions,
        target=Target(onnxruntime="0", layout="generic", arch="any"),
        arena=Arena(strategy=0, initial_bytes=0, peak_bytes=0),
        memory=Memory(budget_bytes=0, least_bytes=0, floor_bytes=0, session_bytes=0, call_bytes=0),
        planned_shapes={},
    )
    writer = SealWriter(
        key=key,
        suite=SUITES["aes-256-gcm"],
        release=0,
        block_bytes=[p.block_bytes for p in partitions],
        data_key=Secret(bytes(range(32))),
        wrap_salt=bytes(32),
    )
    file = io.BytesIO()
    file.write(bytes(HEADER_BYTES))
    for number, part in enumerate(partitions):
        for index in writer.table.block_segments(number):
            segment = bytearray([number + 1]) * writer.table.length(index)
            writer.seal_segment(memoryview(segment))
            file.write(segment)
        assert part.block_bytes == SIZES[number]
    end = writer.finish(manifest)
    file.write(end.manifest)
    content = bytearray(file.getvalue())
    content[:HEADER_BYTES] = end.header
    return content, key


@pytest.fixture(scope="module")
def sealed():
    return seal_sums("v5", "v0")


@pytest.fixture(scope="module")
def sealed_chain():
    """No input is an output: it goes with its last use."""
    return seal_sums("v5")


class BytesSource:
    def __init__(self, content):
        self.content = content
        self.reads = []

    def read_into(self, offset, view):
        part = self.content[offset : offset + len(view)]
        if len(part) < len(view):
            raise SealedFormatError("the sealed file ends too early")
        self.reads.append(offset)
        view[:] = part


@dataclass
class Memory_:
    view: memoryview
    closed: bool = False

    def wipe(self):
        self.view[:] = bytes(len(self.view))

    def close(self):
        self.wipe()
        self.closed = True


class Summing:
    """Adds the sum of its weights to its input; refuses "bad"."""

    def __init__(self, runtime):
        self.runtime, self.weights = runtime, []

    def bind(self, weights):
        self.weights = weights

    def run(self, inputs, stop=None):
        if inputs[0] == "bad":
            raise EngineError("onnxruntime could not run a partition")
        self.runtime.running.append(threading.get_ident())
        return [inputs[0] + sum(sum(w) for w in self.weights)]

    def close(self):
        self.weights = []


class SummingRuntime:
    def __init__(self):
        self.buffers, self.running = [], []

    def computation(self, _partition):
        return Summing(self)

    def buffer(self, n_bytes):
        self.buffers.append(Memory_(memoryview(bytearray(n_bytes))))
        return self.buffers[-1]

    def weights(self, partition, buffer):
        return [buffer.view[w.offset : w.offset + w.n_bytes] for w in partition.weights]

    def copy(self, value):
        return value


EXPECTED = sum((i + 1) * n for i, n in enumerate(SIZES))


def opened(sealed, content=None, n_threads=2, runtime=None, **more):
    original, key = sealed
    content = original if content is None else content
    verified = verify_header(parse_header(content))
    keys = file_keys(verified, unwrap_data_key(verified, key))
    n = verified.header.manifest_bytes
    manifest = open_manifest(keys, bytearray(original[-n:]), file_bytes=len(original))
    source, runtime = BytesSource(content), runtime or SummingRuntime()
    loader = BlockLoader(source, SegmentOpener(keys, manifest), n_threads=n_threads)
    return Stream(manifest, loader, runtime, **more), source, runtime


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("resident", [(), (1,), (0, 3), (0, 1, 2, 3, 4)])
def test_every_weight_is_opened_and_in_its_place(sealed, resident, n_threads):
    stream, source, runtime = opened(sealed, n_threads=n_threads)
    stream.place(frozenset(resident), slots=1)
    assert stream.run({"v0": 5}) == [5 + EXPECTED, 5]
    first = len(source.reads)
    assert stream.run({"v0": 6}) == [6 + EXPECTED, 6]
    streamed = sum(-(-n // MIB) for i, n in enumerate(SIZES) if i not in resident)
    assert len(source.reads) - first == streamed
    if len(resident) < len(SIZES):
        assert not any(stream._shared.view)  # plaintext goes with the pass
    streamed_bytes = sum(n for i, n in enumerate(SIZES) if i not in resident)
    assert stream.figures.streamed_bytes == streamed_bytes
    assert stream.opened_bytes == sum(SIZES) + streamed_bytes
    stream.close()
    assert all(not any(buffer.view) for buffer in runtime.buffers)
    with pytest.raises(UsageError, match="closed"):
        stream.run({"v0": 5})


def test_that_it_has_started_is_told_once_when_two_partitions_have_run(sealed):
    runtime, told = SummingRuntime(), []
    stream, _, _ = opened(
        sealed, runtime=runtime, once_started=lambda: told.append(len(runtime.running))
    )
    stream.place(frozenset(), slots=1)
    stream.run({"v0": 5})
    stream.run({"v0": 5})
    assert told == [2]
    stream.close()


def test_the_buffer_is_as_large_as_the_largest_streamed_block(sealed):
    stream, _, runtime = opened(sealed)
    stream.place(frozenset({1}), slots=1)
    assert stream.figures.buffer_bytes == MIB
    assert sorted(len(b.view) for b in runtime.buffers) == [MIB, 3 * MIB + 640]
    stream.close()


@pytest.mark.parametrize("place", [HEADER_BYTES, HEADER_BYTES + 64 + 2 * MIB + 5, -9000])
def test_a_changed_segment_gives_an_error_no_output_and_a_wiped_buffer(sealed, place):
    content = bytearray(sealed[0])
    if place < 0:
        place = HEADER_BYTES + sum(SIZES) - 1
    content[place] ^= 1
    stream, _, runtime = opened(sealed, content)
    stream.place(frozenset(), slots=1)
    with pytest.raises(AuthenticationError):
        stream.run({"v0": 5})
    failed = next(i for i, n in enumerate(SIZES) if place - HEADER_BYTES < sum(SIZES[: i + 1]))
    assert len(runtime.running) == failed
    assert not any(runtime.buffers[0].view[: SIZES[failed]])
    stream.close()


def test_segments_in_another_order_are_refused(sealed):
    content = bytearray(sealed[0])
    first = HEADER_BYTES + SIZES[0]
    content[first : first + MIB], content[first + MIB : first + 2 * MIB] = (
        content[first + MIB : first + 2 * MIB],
        content[first : first + MIB],
    )
    stream, _, _ = opened(sealed, content)
    stream.place(frozenset(), slots=1)
    with pytest.raises(AuthenticationError):
        stream.run({"v0": 5})
    stream.close()


def test_a_call_that_fails_does_not_hurt_those_that_share_its_pass(sealed):
    stream, source, _ = opened(sealed)
    stream.place(frozenset(), slots=8)
    stream.run({"v0": 0})
    before = len(source.reads)
    results, barrier = {}, threading.Barrier(4)

    def work(i):
        barrier.wait()
        try:
            results[i] = stream.run({"v0": "bad" if i == 2 else i})
        except EngineError as error:
            results[i] = error

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert isinstance(results.pop(2), EngineError)
    assert results == {i: [i + EXPECTED, i] for i in (0, 1, 3)}
    assert len(source.reads) - before <= 4 * sum(-(-n // MIB) for n in SIZES)
    stream.close()


def test_waiting_calls_share_one_pass(sealed):
    stream, source, _ = opened(sealed)
    stream.place(frozenset(), slots=8)
    gate, entered = threading.Event(), threading.Event()
    read = source.read_into

    def slow(offset, view):
        entered.set()
        gate.wait(10)
        read(offset, view)

    source.read_into = slow
    results = []
    threads = [
        threading.Thread(target=lambda i=i: results.append(stream.run({"v0": i})[0] - EXPECTED))
        for i in range(6)
    ]
    threads[0].start()
    entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    while stream._turns.n_waiting < 5:
        pass
    gate.set()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(6))
    segments = sum(-(-n // MIB) for n in SIZES)
    assert len(source.reads) == 2 * segments  # one pass for the first, one for the other five
    stream.close()


class CopyingRuntime(SummingRuntime):
    """Tells what is made, and what is copied of it."""

    def __init__(self):
        super().__init__()
        self.order = []

    def computation(self, _partition):
        runtime = self

        class Telling(Summing):
            def run(self, inputs, stop=None):
                results = super().run(inputs, stop)
                runtime.order.append(("made", results[0]))
                return results

        return Telling(self)

    def copy(self, value):
        self.order.append(("copied", value))
        if value == EXPECTED + 2:
            raise EngineError("an output can't be copied")
        return -value


@pytest.mark.parametrize("slots", [1, 8])
def test_what_a_call_gets_is_copied_before_another_computes(sealed_chain, slots):
    runtime = CopyingRuntime()
    stream, source, _ = opened(sealed_chain, runtime=runtime)
    stream.place(frozenset(), slots=slots)
    entered, gate, read = threading.Event(), threading.Event(), source.read_into

    def slow(offset, view):
        entered.set()
        gate.wait(10)
        read(offset, view)

    source.read_into = slow
    results = {}

    def work(i):
        try:
            results[i] = stream.run({"v0": i})
        except EngineError as error:
            results[i] = error

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    threads[0].start()
    entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    while stream._turns.n_waiting < 3:
        pass
    gate.set()
    for thread in threads:
        thread.join()
    assert isinstance(results.pop(2), EngineError)
    assert results == {i: [-i - EXPECTED] for i in (0, 1, 3)}
    ends = [n for n, (what, value) in enumerate(runtime.order) if what == "copied"]
    assert sorted(runtime.order[n][1] - EXPECTED for n in ends) == [0, 1, 2, 3]
    assert all(runtime.order[n - 1] == ("made", runtime.order[n][1]) for n in ends)
    stream.close()


def test_only_what_is_asked_for_is_copied(sealed):
    runtime = CopyingRuntime()
    stream, _, _ = opened(sealed, runtime=runtime)
    stream.place(frozenset(), slots=1)
    assert stream.run({"v0": 5}, names=["v0", "v0"]) == [-5, -5]
    assert [entry for entry in runtime.order if entry[0] == "copied"] == 2 * [("copied", 5)]
    assert stream.run({"v0": 5}, names=[]) == []
    stream.close()


def test_what_is_read_and_when_does_not_depend_on_values(sealed):
    stream, source, _ = opened(sealed, n_threads=1)
    stream.place(frozenset({3}), slots=1)
    stream.run({"v0": 0})
    events = []
    stream.on_event = events.append
    traces = []
    for value in (0, 1, -(10**9)):
        source.reads.clear()
        events.clear()
        stream.run({"v0": value})
        told = tuple((event.what, event.partition, event.segment) for event in events)
        traces.append((tuple(source.reads), told))
    assert len(set(traces)) == 1
    reads, told = traces[0]
    offset = stream._loader._opener.table.offset
    assert tuple(offset(segment) for what, _, segment in told if what == "read") == reads
    stream.close()


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_every_segment_is_told_by_the_thread_that_read_and_opened_it(sealed, n_threads):
    stream, source, _ = opened(sealed, n_threads=n_threads)
    stream.place(frozenset({0}), slots=1)
    read, readers = source.read_into, {}
    table = stream._loader._opener.table
    first, second, *_ = map(table.offset, table.block_segments(1))
    meeting = threading.Barrier(2 if n_threads > 1 else 1)

    def watched(offset, view):
        if offset in (first, second):
            meeting.wait(30)  # so that helpers get some too
        readers[offset] = threading.get_native_id()
        read(offset, view)

    source.read_into = watched
    events = []
    stream.on_event = events.append
    for blocks in (SIZES, (0, *SIZES[1:])):  # the resident one is opened once
        events.clear()
        readers.clear()
        before = time.perf_counter_ns()
        stream.run({"v0": 1})
        after = time.perf_counter_ns()
        expected = {
            (what, i, segment)
            for i, n_bytes in enumerate(blocks)
            for segment in (table.block_segments(i) if n_bytes else ())
            for what in ("read", "open")
        }
        segments = [event for event in events if event.segment is not None]
        assert {(e.what, e.partition, e.segment) for e in segments} == expected
        assert len(segments) == len(expected)
        loads = {event.partition: event for event in events if event.what == "load"}
        assert list(loads) == [i for i, n_bytes in enumerate(blocks) if n_bytes]
        computes = [event for event in events if event.what == "compute"]
        assert [event.partition for event in computes] == list(range(len(SIZES)))
        opens = {event.segment: event for event in segments if event.what == "open"}
        for event in segments:
            load, opened_ = loads[event.partition], opens[event.segment]
            assert before <= load.start_ns <= event.start_ns <= event.stop_ns <= load.stop_ns
            assert load.stop_ns <= computes[event.partition].start_ns <= after
            assert event.thread == opened_.thread == readers[table.offset(event.segment)]
            assert event.what == "open" or event.stop_ns == opened_.start_ns
        mine = threading.get_native_id()
        assert {event.thread for event in (*loads.values(), *computes)} == {mine}
        # A busy machine may keep helpers from getting any.
        assert 1 <= len({event.thread for event in segments}) <= n_threads
    stream.close()


def test_nobody_looks_at_the_clock_when_nobody_listens(sealed, monkeypatch):
    stream, _, _ = opened(sealed)
    stream.place(frozenset({3}), slots=1)
    looks = []
    monkeypatch.setattr(time, "perf_counter_ns", lambda: looks.append(1) or len(looks))
    for _ in range(2):
        stream.run({"v0": 0})
    assert not looks
    events = []
    stream.on_event = events.append
    stream.run({"v0": 0})
    assert looks
    assert events
    stream.close()


def test_a_listener_that_fails_ends_the_call_alone(sealed):
    stream, _, _ = opened(sealed, n_threads=3)
    stream.place(frozenset(), slots=1)
    for what in ("read", "open", "load", "compute"):

        def failing(event, what=what):
            if event.what == what and event.partition == 1:
                raise OSError(what)

        stream.on_event = failing
        with pytest.raises(OSError, match=what):
            stream.run({"v0": 1})
        stream.on_event = None
        assert stream.run({"v0": 1}) == [1 + EXPECTED, 1]
    stream.close()
