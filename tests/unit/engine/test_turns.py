"""Calls beside each other once all is opened: real threads, and no call is another's concern."""

import threading
import time
from collections import UserDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_stream import SIZES, Summing, SummingRuntime, opened, sealed  # noqa: F401 - a fixture

from inferonnx.engine.turns import Call, Turns
from inferonnx.errors import AuthenticationError, EngineError, UsageError
from inferonnx.runtime.stop import Stop
from inferonnx.sealed import HEADER_BYTES

ALL = frozenset(range(len(SIZES)))


class Interrupt(KeyboardInterrupt):
    """An interrupt that the test itself raises."""


class Counting(Summing):
    """Counts partitions; weights by their first byte. Tells `during` while it computes."""

    def run(self, inputs, stop=None):
        runtime = self.runtime
        with runtime.lock:
            runtime.now += 1
            runtime.most = max(runtime.most, runtime.now)
        try:
            if runtime.during:
                runtime.during(inputs[0])
            if inputs[0] == "bad":
                raise EngineError("onnxruntime could not run a partition")
            return [inputs[0] + sum(w[0] + w[-1] for w in self.weights)]
        finally:
            with runtime.lock:
                runtime.now -= 1


class CountingRuntime(SummingRuntime):
    def __init__(self):
        super().__init__()
        self.lock, self.now, self.most, self.during = threading.Lock(), 0, 0, None

    def computation(self, _partition):
        return Counting(self)


ADDED = sum(2 * (i + 1) for i, n in enumerate(SIZES) if n)


@pytest.fixture
def stream(sealed):  # noqa: F811
    """All resident, three at once; not yet opened."""
    stream, source, runtime = opened(sealed, runtime=CountingRuntime())
    stream.place(ALL, slots=3, n_parallel=3)
    stream.source, stream.runtime = source, runtime
    yield stream
    stream.close()


def at_once(*works):
    """Run functions on a thread each, and return what they returned or raised."""
    results = [None] * len(works)

    def one(i):
        try:
            results[i] = works[i]()
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return results


def calling(stream, *values):
    return at_once(*(lambda value=value: stream.run({"v0": value})[0] for value in values))


def test_calls_meet_inside_a_partition_once_all_is_opened(stream):
    stream.run({"v0": 0})
    meeting = threading.Barrier(3)
    stream.runtime.during = lambda _: meeting.wait(30)  # passes when three are there at once
    assert calling(stream, 1, 2, 3) == [1 + ADDED, 2 + ADDED, 3 + ADDED]


@pytest.mark.parametrize(("resident", "n_parallel"), [(ALL, 1), (ALL, 2), (ALL - {3}, 3)])
def test_never_more_at_once_than_there_is_memory_for(sealed, resident, n_parallel):  # noqa: F811
    stream, _, runtime = opened(sealed, runtime=CountingRuntime())
    stream.place(resident, slots=4, n_parallel=n_parallel)
    stream.run({"v0": 0})
    runtime.during = lambda _: time.sleep(0.002)
    assert calling(stream, *range(9)) == [i + ADDED for i in range(9)]
    assert runtime.most == (n_parallel if resident == ALL else 1)
    stream.close()


def test_while_blocks_are_opened_a_pass_runs_alone(stream):
    gate, entered, read = threading.Event(), threading.Event(), stream.source.read_into

    def slow(offset, view):
        entered.set()
        gate.wait(10)
        read(offset, view)

    stream.source.read_into = slow
    results = []
    first = threading.Thread(target=lambda: results.extend(calling(stream, 1)))
    first.start()
    entered.wait(10)
    second = threading.Thread(target=lambda: results.extend(calling(stream, 2, 3)))
    second.start()
    while stream._turns.n_waiting < 2:
        time.sleep(0.001)
    assert stream.runtime.most == 0
    gate.set()
    first.join(10)
    second.join(10)
    assert sorted(results) == [1 + ADDED, 2 + ADDED, 3 + ADDED]
    assert len(stream.source.reads) == len(set(stream.source.reads))  # each segment once


def test_inputs_that_can_t_be_made_are_no_other_call_s_concern(sealed):  # noqa: F811
    class Broken(UserDict):
        def __getitem__(self, _name):
            raise EngineError("no value")

    def ask(value):
        if value != 2:
            return stream.run({"v0": value})[0]
        with pytest.raises(EngineError, match="no value"):
            stream.run(Broken(v0=value))
        return None

    stream, _, _ = opened(sealed, runtime=CountingRuntime())
    stream.place(frozenset(), slots=5)
    asked = [lambda value=value: ask(value) for value in range(5)]
    assert at_once(*asked) == [ADDED, 1 + ADDED, None, 3 + ADDED, 4 + ADDED]
    stream.close()


def test_a_first_pass_that_fails_leaves_the_rest_to_the_next(stream):
    stream.runtime.during = lambda value: None
    with pytest.raises(EngineError):
        stream.run({"v0": "bad"})
    assert stream._turns.at_once == 1
    assert stream._pending
    assert calling(stream, 1, "bad", 3)[::2] == [1 + ADDED, 3 + ADDED]
    assert stream._turns.at_once == 3
    assert len(stream.source.reads) == len(set(stream.source.reads))


def test_a_block_that_was_changed_is_no_call_that_runs_beside(sealed):  # noqa: F811
    content = bytearray(sealed[0])
    content[HEADER_BYTES + sum(SIZES) - 1] ^= 1
    stream, _, _ = opened(sealed, content, runtime=CountingRuntime())
    stream.place(ALL, slots=3, n_parallel=3)
    for _ in range(2):
        assert all(isinstance(r, AuthenticationError) for r in calling(stream, 1, 2, 3, 4))
    assert stream._turns.at_once == 1
    stream.close()


@pytest.mark.parametrize("what", ["bad", "interrupt"])
def test_what_ends_one_call_does_not_touch_those_beside_it(stream, what):
    stream.run({"v0": 0})
    meeting = threading.Barrier(3)

    def during(value):
        meeting.wait(30)
        if value == "interrupt":
            raise Interrupt
        if value == "bad":
            meeting.abort()  # it does not come to the next partition

    def patient(value):
        try:
            during(value)
        except threading.BrokenBarrierError:
            pass
        finally:
            if value == "interrupt":
                meeting.abort()

    stream.runtime.during = patient
    one, other, last = calling(stream, 1, what, 3)
    assert (one, last) == (1 + ADDED, 3 + ADDED)
    assert isinstance(other, EngineError if what == "bad" else Interrupt)
    stream.runtime.during = None
    assert calling(stream, 4, 5, 6, 7) == [n + ADDED for n in (4, 5, 6, 7)]


def test_close_waits_for_all_and_refuses_those_behind_them(stream):
    stream.run({"v0": 0})
    inside, gate = threading.Semaphore(0), threading.Event()

    def during(value):
        inside.release()
        gate.wait(10)

    stream.runtime.during = during
    results = [None] * 5
    threads = [
        threading.Thread(target=lambda i=i: results.__setitem__(i, calling(stream, i)[0]))
        for i in range(5)
    ]
    for thread in threads:
        thread.start()
    for _ in range(3):
        inside.acquire()
    while stream._turns.n_waiting < 2:
        time.sleep(0.001)
    closing = [threading.Thread(target=stream.close) for _ in range(2)]
    for thread in closing:
        thread.start()
    time.sleep(0.02)
    assert all(thread.is_alive() for thread in closing)
    assert not any(buffer.closed for buffer in stream.runtime.buffers)
    gate.set()
    for thread in (*closing, *threads):
        thread.join(10)
        assert not thread.is_alive()
    refused = [r for r in results if isinstance(r, UsageError)]
    assert len(refused) == 2
    assert {r for r in results if isinstance(r, int)} <= {i + ADDED for i in range(5)}
    assert all(buffer.closed for buffer in stream.runtime.buffers)


def test_the_first_to_come_is_the_first_to_go(stream):
    stream.run({"v0": 0})
    gate = threading.Event()
    stream.runtime.during = lambda _: gate.wait(10)
    threads = []
    for i in range(7):
        threads.append(threading.Thread(target=calling, args=(stream, i)))
        threads[-1].start()
        while stream._turns.n_waiting + len(stream._turns._leading) <= i:
            time.sleep(0.0005)
    assert [call.inputs["v0"] for call in stream._turns._waiting] == [3, 4, 5, 6]
    gate.set()
    for thread in threads:
        thread.join(10)


def test_room_is_made_where_calls_of_another_kind_come(sealed):  # noqa: F811
    stream, _, _ = opened(sealed, runtime=CountingRuntime())
    stream.place(frozenset(), slots=1)
    told = []
    stream.make_room = told.append
    for kind in ("small", "small", "large", "large", "small"):
        stream.run({"v0": 1}, kind)
    assert told == ["large", "small"]  # nothing is there before the first
    stream.close()


def test_who_came_too_late_for_a_pass_waits_for_those_of_it(monkeypatch):
    """Else seven callers and one would take turns for ever, and weights be opened twice."""
    monkeypatch.setattr("inferonnx.engine.turns.GATHER_S", 30)
    turns = Turns()
    turns.slots = 4
    first, late, again = (Call({}, []) for _ in range(3))
    turns.join(first)
    follower = threading.Thread(target=turns.join, args=(late,), daemon=True)
    follower.start()
    while not turns.n_waiting:
        time.sleep(0.001)
    turns.leave(first)
    returner = threading.Thread(target=turns.join, args=(again,), daemon=True)
    returner.start()
    follower.join(10)
    assert late.share == (late, again)
    again.done = True
    turns.leave(late)
    returner.join(10)


def test_only_calls_of_one_kind_share_a_pass(sealed):  # noqa: F811
    stream, _, runtime = opened(sealed, runtime=CountingRuntime())
    stream.place(frozenset(), slots=3)
    stream.run({"v0": 0}, "small")
    told, gate = [], threading.Event()
    stream.make_room = told.append
    runtime.during = lambda _: gate.wait(10)
    threads = []
    for i, kind in enumerate(("small", "small", "large", "small")):
        call = threading.Thread(target=lambda i=i, kind=kind: stream.run({"v0": i}, kind))
        threads.append(call)
        call.start()
        while stream._turns.n_waiting + stream._turns.n_leading <= i:
            time.sleep(0.0005)
    gate.set()
    for thread in threads:
        thread.join(10)
    # The first ran alone, then the small ones together, and the large one had a pass of its own.
    assert told == ["large"]
    assert stream.opened_bytes == 4 * sum(SIZES)
    stream.close()


def test_room_is_made_until_a_call_is_alone_with_its_kind(stream):
    stream.run({"v0": 0}, "small")
    told, meeting = [], threading.Barrier(2)
    stream.make_room = told.append
    stream.runtime.during = lambda _: meeting.wait(10)
    at_once(
        lambda: stream.run({"v0": 1}, "small"),
        lambda: stream.run({"v0": 2}, "large"),
    )
    stream.runtime.during = None
    assert set(told) <= {"small", "large"}
    assert "large" in told
    told.clear()
    stream.run({"v0": 3}, "large")  # beside it there may be what "small" left
    stream.run({"v0": 4}, "large")
    stream.run({"v0": 5}, "large")
    assert told in (["large"], [])
    stream.run({"v0": 6}, "small")
    assert told[-1] == "small"


Program = st.lists(st.sampled_from(["good", "good", "good", "bad", "interrupt"]), max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    programs=st.lists(Program, min_size=1, max_size=6),
    resident=st.sets(st.sampled_from(sorted(ALL))) | st.just(set(ALL)),
    slots=st.integers(1, 4),
    n_parallel=st.integers(1, 4),
    n_threads=st.integers(1, 3),
)
def test_any_calls_of_any_threads_get_their_own_end(
    sealed,  # noqa: F811
    programs,
    resident,
    slots,
    n_parallel,
    n_threads,
):
    """Interrupts hit whoever leads: as many calls end with one as were raised, and no other."""
    stream, _, runtime = opened(sealed, n_threads=n_threads, runtime=CountingRuntime())
    stream.place(frozenset(resident), slots=slots, n_parallel=n_parallel)
    ordered, raised, lock = [0], [0], threading.Lock()

    def during(_):
        with lock:
            if raised[0] == ordered[0]:
                return
            raised[0] += 1
        raise Interrupt

    runtime.during = during

    def run(program, base):
        ends = []
        for i, what in enumerate(program):
            if what == "interrupt":
                with lock:
                    ordered[0] += 1
            try:
                ends.append((what, i, stream.run({"v0": "bad" if what == "bad" else base + i})))
            except BaseException as error:
                ends.append((what, i, error))
        return base, ends

    results = at_once(
        *(lambda p=program, b=100 * n: run(p, b) for n, program in enumerate(programs))
    )
    interrupted = 0
    for base, ends in results:
        for what, i, end in ends:
            if isinstance(end, Interrupt):
                interrupted += 1
            elif what == "bad":
                assert isinstance(end, EngineError)
            else:
                assert end == [base + i + ADDED, base + i]
    assert interrupted == raised[0]
    assert runtime.most <= (n_parallel if len(resident) == len(ALL) else 1)
    runtime.during = None
    assert stream.run({"v0": 7}) == [7 + ADDED, 7]
    assert not stream._turns._leading
    assert not stream._turns.n_waiting
    stream.close()
    assert all(not any(buffer.view) for buffer in runtime.buffers)


def test_who_is_given_up_is_dropped_at_the_next_partition_and_the_others_go_on(sealed):  # noqa: F811
    stream, _, runtime = opened(sealed, runtime=CountingRuntime())
    stream.place(frozenset(), slots=3)
    gate, stop = threading.Event(), Stop()
    steps = []

    def during(value):
        gate.wait(30)
        steps.append(value)
        if value == 1:
            stop.set()

    runtime.during = during
    first = threading.Thread(target=calling, args=(stream, 0))  # holds the two up until both wait
    first.start()

    def meet():
        while stream._turns.n_waiting < 3:
            time.sleep(0.001)
        gate.set()

    given_up, *others, _ = at_once(
        lambda: stream.run({"v0": 7}, stop=stop)[0],
        lambda: stream.run({"v0": 1})[0],
        lambda: stream.run({"v0": 2})[0],
        meet,
    )
    first.join(30)
    assert isinstance(given_up, EngineError)
    assert others == [1 + ADDED, 2 + ADDED]
    assert len(steps) == 3 * len(SIZES) + 1
    with pytest.raises(EngineError, match="given up"):
        stream.run({"v0": 7}, stop=stop)
    stream.close()
