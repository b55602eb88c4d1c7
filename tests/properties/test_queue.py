"""A queue under any order of events: whoever asks is answered once, by its own numbers.

Models double what they are given, so that an answer says whose it is. Nothing is
computed for a request that nobody waits for when its run begins, no run is given up that
somebody waits for, and no caller gets its inputs back while a run uses them.
"""

import contextlib

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inferonnx.errors import BusyError, InferonnxError, ModelError, TensorError
from inferonnx.server.pool import Pool
from inferonnx.server.scheduler import ModelQueue, QueueLimits
from inferonnx.server.threads import PassThreads
from sim.models import DoublingOpener, facts, new_key, numbers
from sim.stepping import SteppingExecutor, SteppingLoop

TURNS = st.integers(0, 6)
WHICH = st.integers(0, 1 << 16)
LIMITS = QueueLimits(n_waiting=5, n_rows=4, delay_s=0.5)
KNOWN = {"batched": facts(least=60, full=60), "single": facts(least=60, full=60, batchable=False)}
MODELS = tuple((path, 1) for path in KNOWN)
FAULTS = st.sampled_from([None, None, None, ModelError("it is broken"), RuntimeError("a bug")])


class Request:
    """One call of `infer`, with numbers of its own."""

    def __init__(self, machine, queue, *, number, rows, width, timeout_s):
        self.values = [1000 * number + i for i in range(rows * width)]
        self.rows = rows
        self.gone = False
        self.answer = None
        self.task = machine.loop.create_task(self._ask(queue, timeout_s))

    async def _ask(self, queue, timeout_s):
        inputs = {"x": numbers(*self.values, rows=self.rows)}
        try:
            self.answer = await queue.infer(inputs, timeout_s=timeout_s)
        finally:
            self.gone = True

    def check(self):
        if self.task.cancelled():
            return
        error = self.task.exception()
        if error is None:
            (output,) = self.answer.outputs
            assert output.data.cast("q").tolist() == [2 * value for value in self.values]
            assert self.answer.timing.n_rows >= self.rows
        else:
            assert isinstance(error, (InferonnxError, RuntimeError)), error


class QueueMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.loop = SteppingLoop()
        self.opener = DoublingOpener(KNOWN)
        self.runs = SteppingExecutor(self.check_begin)
        self.requests = []

    def of_run(self, calls):
        """Return the requests whose numbers a run has."""
        ((inputs, _),) = (call.args for call in calls)
        numbers_of_run = {v // 1000 for v in inputs["x"].data.cast("q").tolist()}
        return [self.requests[number] for number in numbers_of_run]

    def check_begin(self, _, calls):
        for request in self.of_run(calls):
            assert not request.gone, "computed for nobody"
            assert not request.task.cancelling(), "computed for who has left"

    def one_more(self):
        """Return a thread whose calls the rules end like those of the others."""
        thread = SteppingExecutor(self.check_begin)
        thread.calls = self.runs.calls
        return thread

    @initialize(total=st.sampled_from([100, 120]))
    def unlock(self, total):
        """Begin with memory for one model or for both."""
        self.opener.total = total
        self.pool = Pool(self.opener, total_bytes=total, concurrency=2)
        threads = PassThreads(self.runs, n_shared=1, extra=self.one_more)
        self.queues = {m: ModelQueue(self.pool, m, LIMITS, threads) for m in MODELS}
        for model in MODELS:
            self.loop.create_task(self.pool.admit(model, model[0], new_key()))
        self.loop.settle(seconds=1)

    @rule(
        model=st.sampled_from([MODELS[0], *MODELS]),
        n=st.integers(1, 4),
        rows=st.sampled_from([1, 1, 2, 3]),
        width=st.sampled_from([1, 1, 1, 2]),
        timeout_s=st.sampled_from([None, None, 0.5, 3]),
        is_bad=st.sampled_from([False, False, False, True]),
        turns=TURNS,
    )
    def ask(self, model, n, rows, width, timeout_s, is_bad, turns):
        for _ in range(n):
            number = len(self.requests)
            request = Request(
                self,
                self.queues[model],
                number=number,
                rows=rows,
                width=width,
                timeout_s=timeout_s,
            )
            self.requests.append(request)
        if is_bad:
            self.opener.bad |= set(request.values)
        self.loop.step(turns)

    @property
    def live(self):
        return [request for request in self.requests if not request.task.done()]

    @precondition(lambda self: self.live)
    @rule(which=WHICH, turns=TURNS)
    def cancel(self, which, turns):
        self.live[which % len(self.live)].task.cancel()
        self.loop.step(turns)

    @precondition(lambda self: self.runs.calls)
    @rule(which=WHICH, turns=TURNS)
    def a_run_ends(self, which, turns):
        _, _, (calls,), _ = self.runs.calls[which % len(self.runs.calls)]
        users = self.of_run(calls)
        assert not any(request.gone for request in users), "inputs were given back too early"
        if calls[0].args[1].is_set:
            assert all(request.task.cancelling() for request in users), "somebody still waits"
        self.runs.run_next(which)
        self.loop.step(turns)

    @rule(n=st.integers(1, 4))
    def all_threads_end(self, n):
        for _ in range(n):
            self.loop.step(4)
            while self.loop.threads.calls:
                self.loop.threads.run_next()

    @rule(turns=TURNS)
    def a_thread_ends(self, turns):
        self.loop.threads.run_next()
        self.loop.step(turns)

    @rule(dt=st.sampled_from([0.1, 0.5, 2]), turns=TURNS)
    def time_goes_by(self, dt, turns):
        self.loop.now += dt
        self.loop.step(turns)

    @rule(fault=FAULTS)
    def openings_go(self, fault):
        self.opener.fault = fault

    @precondition(lambda self: self.opener.open_models)
    @rule(fault=FAULTS)
    def runs_go(self, fault):
        self.opener.open_models[0].fault = fault

    @precondition(lambda self: self.opener.open_models)
    @rule(fits=st.sampled_from([1, 2, 100, TensorError("no"), RuntimeError("a bug")]))
    def batches_fit(self, fits):
        self.opener.open_models[0].fits_up_to = fits

    @precondition(lambda self: self.opener.open_models)
    @rule(by_rows=st.booleans())
    def outputs_go(self, by_rows):
        self.opener.open_models[0].by_rows = by_rows

    @rule(model=st.sampled_from(MODELS), turns=TURNS)
    def lock_and_unlock(self, model, turns):
        async def again():
            await self.pool.withdraw(model)
            await self.pool.admit(model, model[0], new_key())

        self.loop.create_task(again())
        self.loop.step(turns)

    @rule(turns=TURNS)
    def cancel_a_worker(self, turns):
        for task in self.loop.pending():
            if task.get_coro().__name__ == "_work":
                task.cancel()
                break
        self.loop.step(turns)

    @invariant()
    def queues_are_bounded(self):
        for queue in self.queues.values():
            assert len(queue._jobs) <= LIMITS.n_waiting
            assert len(queue._workers) <= 2
            assert queue.statistics.n_pending <= LIMITS.n_waiting + 2 * LIMITS.n_rows

    def teardown(self):
        with contextlib.closing(self.loop):
            self.end()

    def end(self):
        self.opener.fault = None
        finishing = [self.loop.create_task(queue.finish()) for queue in self.queues.values()]
        self.loop.settle(self.runs, seconds=20)
        assert not self.loop.pending(), "somebody waits for ever"
        assert all(task.done() for task in finishing)
        for request in self.requests:
            request.check()
        refused = sum(
            isinstance(request.task.exception(), BusyError)
            for request in self.requests
            if not request.task.cancelled()
        )
        counted = 0
        for queue in self.queues.values():
            assert not queue.statistics.n_pending
            counted += queue.statistics.success.count + queue.statistics.fail.count
        # Who was cancelled before its first step never came to the queue.
        assert counted <= len(self.requests)
        assert refused <= counted
        assert not self.opener.wrongs
        assert not self.loop.complaints


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=150, stateful_step_count=50)
