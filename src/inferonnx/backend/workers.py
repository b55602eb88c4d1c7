"""Cases run in processes of their own: one that dies takes its case with it, and no other.

A worker is a fresh interpreter that is handed one case after the other. If it dies
or hangs, that is the outcome of the side that ran; the other side and the cases
after it go to a new one.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferonnx.backend.judging import Outcome, judge_plain, judge_sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from inferonnx.backend.cases import Case
    from inferonnx.backend.judging import Answers

LIMIT_S = 300.0
"""The largest light model takes a good deal less; a case that takes longer hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a case.

    Attributes:
        name: Of the case.
        kind: Of the case.
        variant: Of the case.
        plain: Outcome on plain onnxruntime.
        sealed: Outcome on the sealed stream.
    """

    name: str
    kind: str
    variant: str
    plain: Outcome
    sealed: Outcome


def judge_all(
    cases: Sequence[Case],
    *,
    n_workers: int,
    layout: str = "native",
    limit_s: float = LIMIT_S,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Verdict]:
    """Return the verdict on each case, in their order.

    Args:
        cases: What to run.
        n_workers: Processes at a time.
        layout: How models are prepared for sealing, as for `model.prepare`.
        limit_s: Longest that one side of a case may take, in seconds.
        progress: Told how many are done.
    """
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    workers = [_Worker(layout, limit_s) for _ in range(n_workers)]
    for worker in workers:
        idle.put(worker)

    def judge(case: Case) -> Verdict:
        worker = idle.get()
        try:
            return worker.judge(case)
        finally:
            idle.put(worker)

    verdicts = []
    try:
        with ThreadPoolExecutor(n_workers) as pool:
            for verdict in pool.map(judge, cases):
                verdicts.append(verdict)
                progress(len(verdicts))
    finally:
        for worker in workers:
            worker.end()
    return verdicts


class _Worker:
    """A process that judges cases, and is replaced when it dies."""

    def __init__(self, layout: str, limit_s: float) -> None:
        self._layout = layout
        self._limit_s = limit_s
        self._start()

    def judge(self, case: Case) -> Verdict:
        """Return the verdict on a case, whatever it does to the process."""
        self._pipe.send((case, True))
        plain = self._outcome()
        if plain is None:
            plain = self._replace()
            self._pipe.send((case, False))
        sealed = self._outcome() or self._replace()
        return Verdict(
            name=case.name, kind=case.kind, variant=case.variant, plain=plain, sealed=sealed
        )

    def end(self) -> None:
        """Let the process end once it has nothing to do."""
        self._pipe.close()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # onnxruntime's threads survive no fork
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._layout), daemon=True)
        self._process.start()
        theirs.close()

    def _outcome(self) -> Outcome | None:
        """Return what the process says next, None if it died or took too long."""
        try:
            if self._pipe.poll(self._limit_s):
                outcome: Outcome = self._pipe.recv()
                return outcome
        except (EOFError, ConnectionResetError):
            pass
        return None

    def _replace(self) -> Outcome:
        """Put a new process in the place of one that died or hangs, and say which it was."""
        self._process.join(timeout=1.0)
        code = self._process.exitcode
        why = f"took more than {self._limit_s:g} seconds"
        if code is None:
            self._process.kill()
            self._process.join()
        elif code < 0:
            why = f"the process died of {signal.Signals(-code).name}"
        else:
            why = f"the process ended with code {code}"
        self._pipe.close()
        self._start()
        return Outcome(passed=False, answered=False, why=why)


def _serve(pipe: Connection[Outcome, tuple[Case, bool]], layout: str) -> None:
    """Judge what comes through the pipe until it closes: plain onnxruntime first, if wanted."""
    while True:
        try:
            case, with_plain = pipe.recv()
        except EOFError:
            return
        answers: Answers = []
        if with_plain:
            outcome, answers = judge_plain(case)
            pipe.send(outcome)
        pipe.send(judge_sealed(case, answers, layout=layout))
