"""Interrupts at the moments where two threads meet: never a wrong number, never another's error."""

import signal
import threading
import time

import pytest
from test_stream import EXPECTED, MIB, SIZES, opened, sealed  # noqa: F401 - a fixture

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
