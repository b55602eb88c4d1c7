"""An event loop whose every turn, thread and tick of the clock is the test's to give.

Nothing of asyncio is replaced: coroutines, futures and cancellation are the real ones.
A call "in a thread" is kept until the test runs it, so that a test, or hypothesis,
chooses what happens between any two awaits.
"""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor


class SteppingExecutor(ThreadPoolExecutor):
    """Keeps calls until `run_next`; runs them in the caller's thread.

    Attributes:
        calls: What waits: future, function, arguments.
        on_submit: Told of each function that is handed in, and its arguments.
    """

    def __init__(self, on_submit=lambda *call: None):
        super().__init__(max_workers=1)
        self.calls = []
        self.on_submit = on_submit

    def submit(self, call, /, *args, **kwargs):
        future = Future()
        self.on_submit(call, *args)
        self.calls.append((future, call, args, kwargs))
        return future

    def run_next(self, i=0):
        """Run the i-th call, counted around; do nothing when there is none."""
        if not self.calls:
            return
        future, call, args, kwargs = self.calls.pop(i % len(self.calls))
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = call(*args, **kwargs)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)


class SteppingLoop(asyncio.SelectorEventLoop):
    """A loop with a clock of its own that makes one turn at a time.

    Attributes:
        now: Its time, in seconds.
        threads: Its default executor.
        complaints: What asyncio would have logged: lost exceptions, lost tasks.
    """

    def __init__(self):
        self.now = 0.0
        super().__init__()
        self.threads = SteppingExecutor()
        self.set_default_executor(self.threads)
        self.complaints = []
        self.set_exception_handler(lambda _, context: self.complaints.append(context))

    def time(self):
        return self.now

    def step(self, n=1):
        """Make `n` turns: all that is ready runs, once."""
        for _ in range(n):
            self.call_soon(self.stop)
            self.run_forever()

    def settle(self, *executors, seconds=100):
        """Run all threads, timers and tasks until they are done, or a time has gone by."""
        end = self.now + seconds
        while self.now < end and self.pending():
            for _ in range(10):
                self.step(5)
                for executor in (self.threads, *executors):
                    while executor.calls:
                        executor.run_next()
                        self.step(5)
            self.now += 1
        self.step(2)

    def pending(self):
        """Return the tasks that are not done, in the order in which they were made.

        asyncio has them in a set, in the order of addresses: a test that cancels the first
        would be another test each time that hypothesis repeats it.
        """
        tasks = (task for task in asyncio.all_tasks(self) if not task.done())
        return sorted(tasks, key=lambda task: int(task.get_name().rpartition("-")[2]))
