"""Interrupts at the moments where two threads meet: never a wrong number, never another's error."""

import contextlib
import dis
import signal
import sys
import threading
import time
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from test_stream import (  # noqa: F401 - two are fixtures
    EXPECTED,
    MIB,
    SIZES,
    opened,
    sealed,
    sealed_chain,
)
from test_turns import ADDED, ALL, CountingRuntime

import inferonnx.engine

N_SEGMENTS = sum(-(-n // MIB) for n in SIZES)


class Interrupt(KeyboardInterrupt):
    """An interrupt that the test itself raises."""


@pytest.fixture
def alarm():
    """Raise KeyboardInterrupt in the main thread after some seconds."""
    previous = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(Interrupt()))
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("seconds", [0.01, 0.05, 0.1, 0.15, 0.2, 0.3])
def test_after_an_interrupted_load_the_next_answer_is_right(sealed, alarm, seconds):  # noqa: F811
    stream, source, _ = opened(sealed, n_threads=3)
    stream.place(frozenset(), slots=1)
    read, main = source.read_into, threading.main_thread()

    def slow(offset, view):
        time.sleep(0.01 if threading.current_thread() is main else 0.12)
        read(offset, view)

    source.read_into = slow
    alarm(seconds)
    with pytest.raises(Interrupt):
        for _ in range(50):
            assert stream.run({"v0": 5}) == [5 + EXPECTED, 5]
    source.read_into = read
    for value in (5, 6, 7):
        assert stream.run({"v0": value}) == [value + EXPECTED, value]
    stream.close()


@pytest.mark.parametrize("at", range(1, 2 * N_SEGMENTS, 2))
def test_an_interrupt_of_the_leader_is_nobody_elses(sealed, at):  # noqa: F811
    stream, source, _ = opened(sealed, n_threads=1)
    stream.place(frozenset(), slots=8)
    stream.run({"v0": 0})
    read, count, lock = source.read_into, [0], threading.Lock()

    def interrupting(offset, view):
        with lock:
            count[0] += 1
            now = count[0]
        if now == at:
            raise Interrupt
        read(offset, view)

    source.read_into = interrupting
    results, barrier = {}, threading.Barrier(5)

    def work(i):
        barrier.wait()
        try:
            results[i] = stream.run({"v0": i})
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=work, args=(i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(results) == 5
    failed = [i for i, result in results.items() if isinstance(result, BaseException)]
    assert len(failed) <= 1
    assert all(isinstance(results[i], Interrupt) for i in failed)
    for i in set(results) - set(failed):
        assert results[i] == [i + EXPECTED, i]
    stream.close()


def test_finished_calls_do_not_wait_for_other_passes(sealed):  # noqa: F811
    stream, _, _ = opened(sealed)
    stream.place(frozenset(), slots=8)
    widths = []
    original = stream._pass

    def counting(calls):
        widths.append(len(calls))
        original(calls)

    stream._pass = counting

    def work(i):
        for _ in range(12):
            assert stream.run({"v0": i})[0] == i + EXPECTED

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(widths) == 96
    assert sum(widths) / len(widths) > 4  # callers in a loop share passes
    stream.close()


def test_close_waits_for_the_pass_and_can_be_repeated(sealed):  # noqa: F811
    stream, source, runtime = opened(sealed)
    stream.place(frozenset(), slots=1)
    entered, read = threading.Event(), source.read_into

    def slow(offset, view):
        entered.set()
        time.sleep(0.02)
        read(offset, view)

    source.read_into = slow
    results = []
    thread = threading.Thread(target=lambda: results.append(stream.run({"v0": 1})))
    thread.start()
    entered.wait(10)
    stream.close()
    stream.close()
    thread.join(10)
    assert results == [[1 + EXPECTED, 1]]
    assert all(buffer.closed for buffer in runtime.buffers)


ENGINE = str(Path(inferonnx.engine.__file__).parent)
CALLS = {number for name, number in dis.opmap.items() if name.startswith("CALL")}
BACKWARD = {number for name, number in dis.opmap.items() if "JUMP_BACKWARD" in name}


@cache
def goes_on(code, offset):
    """Whether what follows an instruction has the same handler as the instruction itself."""
    table = dis._parse_exception_table(code)
    after = next(i.offset for i in dis.get_instructions(code) if i.offset > offset)
    handlers = [[e.target for e in table if e.start <= at < e.end] for at in (offset, after)]
    return handlers[0] == handlers[1]


class Places:
    """Raises an interrupt at each place of the engine's code where Python looks for one.

    CPython looks when a function begins, when a loop goes back, and when a call of C
    comes back (ceval.c); a trace function can raise at the same places. What it raises
    behind a call counts as raised by the next instruction: where that has another
    handler, it is raised before the call instead.

    Attributes:
        done: Places where it has raised already, each at its first and second time in a run.
    """

    def __init__(self):
        self.done = set()

    def interrupt(self, work):
        """Run `work`, interrupted at one place more; False when there is none left."""
        self.times, self.behind, self.raised = Counter(), set(), False
        sys.settrace(self.trace)
        with contextlib.suppress(Interrupt):
            work()
        sys.settrace(None)
        return self.raised

    def trace(self, frame, event, _):
        if not frame.f_code.co_filename.startswith(ENGINE) or frame.f_code.co_name == "__del__":
            return None  # an interrupt in a finaliser, of another test's object, goes nowhere
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "call":
            self.look(frame, event)
        elif event == "opcode":
            now = frame.f_code.co_code[frame.f_lasti]
            before = now in CALLS and not goes_on(frame.f_code, frame.f_lasti)
            if before or now in BACKWARD or frame in self.behind:
                self.behind.discard(frame)
                self.look(frame, event)
            if now in CALLS and not before:
                self.behind.add(frame)
        return self.trace

    def look(self, frame, event):
        place = frame.f_code, event, frame.f_lasti
        self.times[place] += 1
        place += (self.times[place],)
        if place not in self.done and place[-1] <= 2:
            self.done.add(place)
            self.raised = True
            time.sleep(0.001)  # others go on meanwhile, if they can
            raise Interrupt


def interrupted_everywhere(work, check):
    """Interrupt `work` at every place, and `check` after each; return how many there were."""
    places, calm = Places(), 0
    while calm < 5:  # which places a run comes to differs with what other threads do
        calm = 0 if places.interrupt(work) else calm + 1
        check()
    return len(places.done)


@contextlib.contextmanager
def others(stream, n_threads):
    """Threads that call a stream all the time; yields what waits until each got an answer."""
    going, ends = [True], [[] for _ in range(n_threads)]

    def one(mine):
        while going:
            try:
                mine.append(stream.run({"v0": 1}))
            except BaseException as error:
                mine.append(error)

    def all_go_on():
        before, deadline = [len(mine) for mine in ends], time.monotonic() + 30
        while any(len(mine) < n + 2 for mine, n in zip(ends, before, strict=True)):
            assert time.monotonic() < deadline, "somebody waits for ever"
            time.sleep(0.0005)

    threads = [threading.Thread(target=one, args=(mine,), daemon=True) for mine in ends]
    for thread in threads:
        thread.start()
    try:
        yield all_go_on
    finally:
        going.clear()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    wrong = [end for mine in ends for end in mine if end != [1 + ADDED]]
    assert not wrong, wrong[:3]


@pytest.mark.parametrize(("resident", "n_parallel"), [((), 1), ((1,), 1), (ALL, 2)])
def test_no_interrupt_anywhere_leaves_another_call_waiting_or_wrong(
    sealed_chain,  # noqa: F811
    resident,
    n_parallel,
):
    stream, _, runtime = opened(sealed_chain, runtime=CountingRuntime())
    stream.place(frozenset(resident), slots=2, n_parallel=n_parallel)
    runtime.during = lambda _: time.sleep(0.0003)
    with others(stream, 2) as all_go_on:
        n_places = interrupted_everywhere(lambda: stream.run({"v0": 5}), all_go_on)
        assert n_places > 100
    assert not stream._turns._leading
    assert not stream._turns.n_waiting
    assert stream._shared is None or not any(stream._shared.view)
    stream.close()
    assert all(buffer.closed for buffer in runtime.buffers)


def test_no_interrupt_while_blocks_are_opened_leaves_a_wrong_one(sealed_chain):  # noqa: F811
    stream, source, _ = opened(sealed_chain, n_threads=3, runtime=CountingRuntime())
    stream.place(ALL, slots=1)
    read, main, reading = source.read_into, threading.main_thread(), set()

    def slow(offset, view):
        reading.add(offset)
        if threading.current_thread() is not main:
            time.sleep(0.002)
        read(offset, view)
        reading.remove(offset)

    source.read_into = slow

    def check():
        assert not reading  # a buffer that somebody still writes to is nobody's
        assert stream.run({"v0": 6}) == [6 + ADDED]
        stream._pending = set(ALL - {2})  # to be opened again

    assert interrupted_everywhere(lambda: stream.run({"v0": 5}), check) > 100
    stream.close()


def test_close_can_be_interrupted_anywhere_and_done_again(sealed_chain):  # noqa: F811
    made = []

    def make():
        stream, _, runtime = opened(sealed_chain, runtime=CountingRuntime())
        stream.place(frozenset({1}), slots=1)
        stream.run({"v0": 5})
        made[:] = stream, runtime

    def check():
        stream, runtime = made
        stream.close()
        assert all(buffer.closed and not any(buffer.view) for buffer in runtime.buffers)
        make()

    def work():
        made[0].close()

    make()
    assert interrupted_everywhere(work, check) > 10
    made[0].close()
