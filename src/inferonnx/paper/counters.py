"""What an inference costs in instructions and cache misses: counted by perf, or simulated.

Both are given a command that `bench.counted` is: it loads a model, says so, and runs it as
often as its last argument says once its standard input has ended. perf counts whole
processes; what an inference takes is the difference between one with more inferences and one
with fewer. The simulator is switched on between loading and the inferences. It has the caches
of one processor wherever it runs, so that its figures can be compared; it knows no AVX-512,
and onnxruntime chooses AVX2 under it.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.errors import UnavailableError
from inferonnx.runtime.files import read_file
from inferonnx.runtime.whole_files import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Progress = Callable[[str], None]

EVENTS = ("cycles", "instructions", "cache-references", "cache-misses")
"""As perf names them; the caches are the last level."""

CACHES = ("--I1=32768,8,64", "--D1=32768,8,64", "--LL=8388608,16,64")
"""Of desktop processors with SGX and an EPC of 128 MiB (Xeon E-2174G): bytes, ways, line."""

_WARM_RUNS = 1
"""Of both processes that perf counts: the first inference allocates what later ones use."""

_POLL_S = 0.5
_SWITCH_S = 60.0
_SAID = 300


class Counts(NamedTuple):
    """What was counted.

    Attributes:
        instructions: Of user space.
        cycles: None where the counter has none.
        references: Of the last cache.
        misses: Of the last cache.
    """

    instructions: float
    cycles: float | None
    references: float
    misses: float

    def less(self, other: Counts, parts: int) -> Counts:
        """Return a part of what this has more than another."""
        cycles = None
        if self.cycles is not None and other.cycles is not None:
            cycles = (self.cycles - other.cycles) / parts
        return Counts(
            (self.instructions - other.instructions) / parts,
            cycles,
            (self.references - other.references) / parts,
            (self.misses - other.misses) / parts,
        )


class Counter(NamedTuple):
    """One way to count.

    Attributes:
        label: What every figure says of it.
        repeats: Whether it counts the same each time, whatever runs beside it, so that one
            inference is enough and several models can be counted at once.
        measure: Takes a command but for its last argument, and how many inferences; returns
            what one takes.
    """

    label: str
    repeats: bool
    measure: Callable[[Sequence[str], int, Progress], Counts]


def choose_counter() -> Counter:
    """Return perf where the machine counts cycles, else the simulator.

    Raises:
        UnavailableError: There is neither.
    """
    if _perf_counts_cycles():
        return Counter("counted by perf", False, perf)
    if shutil.which("valgrind") is None:
        raise UnavailableError(
            "this machine does not count cycles for perf, and there is no simulator",
            hint="On Debian: apt install valgrind",
        )
    done = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=False)
    version = done.stdout.strip() or "valgrind"
    return Counter(f"simulated by callgrind ({version}), AVX2", True, callgrind)


def perf(command: Sequence[str], runs: int, progress: Progress) -> Counts:
    """Count inferences with the processor's own counters.

    Raises:
        UnavailableError: perf fails, or a counter is not supported.
    """
    before = _perf([*command, str(_WARM_RUNS)], progress)
    return _perf([*command, str(_WARM_RUNS + runs)], progress).less(before, runs)


def _perf(argv: Sequence[str], progress: Progress) -> Counts:
    with scratch_folder() as scratch:
        out = os.path.join(scratch, "perf.csv")
        events = ",".join(f"{event}:u" for event in EVENTS)
        _run(["perf", "stat", "-x,", "-o", out, "-e", events, "--", *argv], progress)
        found = parse_perf(read_file(out).decode("ascii", "replace"))
    missing = [event for event in EVENTS if found.get(event) is None]
    if missing:
        raise UnavailableError(f"perf does not count {missing[0]} here")
    values = {event: float(value) for event, value in found.items() if value is not None}
    return Counts(
        values["instructions"],
        values["cycles"],
        values["cache-references"],
        values["cache-misses"],
    )


def callgrind(command: Sequence[str], runs: int, progress: Progress) -> Counts:
    """Simulate inferences, from empty caches.

    Raises:
        UnavailableError: The simulator or the command fails.
    """
    with scratch_folder() as scratch:
        out = os.path.join(scratch, "callgrind.out")
        tool = ["--tool=callgrind", "--instr-atstart=no", "--cache-sim=yes", *CACHES]
        argv = ["valgrind", "-q", *tool, f"--callgrind-out-file={out}", *command, str(runs)]
        _run(argv, progress, loaded=_switch_on)
        found = parse_callgrind(read_file(out).decode("utf-8", "replace"))
    references = sum(found[event] for event in ("I1mr", "D1mr", "D1mw"))
    misses = sum(found[event] for event in ("ILmr", "DLmr", "DLmw"))
    return Counts(float(found["Ir"]), None, references, misses).less(Counts(0, None, 0, 0), runs)


def parse_perf(text: str) -> Mapping[str, int | None]:
    """Return what `perf stat -x,` wrote, by event; None where it is not supported."""
    found: dict[str, int | None] = {}
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and not line.startswith("#"):
            value = fields[0].strip()
            found[fields[2].partition(":")[0]] = int(value) if value.isdecimal() else None
    return found


def parse_callgrind(text: str) -> Mapping[str, int]:
    """Return the totals of a file of callgrind, by event.

    Raises:
        UnavailableError: It has none, or nothing was simulated.
    """
    lines = dict(
        line.split(": ", 1) for line in text.splitlines() if line.startswith(("events", "totals"))
    )
    names, numbers = lines.get("events", "").split(), lines.get("totals", "").split()
    if not any(map(int, numbers)) or len(names) != len(numbers):
        raise UnavailableError("the simulator wrote no totals", hint="Try again.")
    return dict(zip(names, map(int, numbers), strict=True))


def _perf_counts_cycles() -> bool:
    if shutil.which("perf") is None:
        return False
    command = ["perf", "stat", "-x,", "-e", "cycles:u", "--", sys.executable, "-S", "-c", ""]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return bool(parse_perf(done.stderr).get("cycles"))


def _switch_on(pid: int) -> None:
    """Have the simulator, which only translated so far, simulate from here on."""
    command = ["callgrind_control", "-i", "on"]
    try:
        done = subprocess.run(
            [*command, str(pid)], capture_output=True, text=True, timeout=_SWITCH_S, check=False
        )
        failed = done.returncode != 0 or "Error" in done.stdout + done.stderr
    except (OSError, subprocess.TimeoutExpired):
        failed = True
    if failed:
        raise UnavailableError(
            "callgrind_control can't reach the simulator",
            hint=f"It comes with valgrind. While this runs, try: {' '.join(command)}",
        )


def _run(
    argv: Sequence[str], progress: Progress, *, loaded: Callable[[int], None] | None = None
) -> None:
    """Run a long command to its end; an interrupt, which `progress` may raise, ends it.

    Args:
        argv: The command. What it waits for is the end of its standard input.
        progress: Told how long it has been running.
        loaded: Called with its process when it has said its first line.
    """
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    started = time.monotonic()

    def tell(what: str) -> None:
        progress(f"{what}, {time.monotonic() - started:.0f} s")

    with scratch_folder() as scratch, open(os.path.join(scratch, "said"), "w+b") as said:
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, env=environment
        ) as process:
            try:
                if loaded is not None and _has_spoken(process, lambda: tell("loading")):
                    loaded(process.pid)
                _to_its_end(process, lambda: tell("counting"))
            finally:
                process.kill()
        if process.returncode:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:]
            raise UnavailableError(
                f"{argv[0]} ended with code {process.returncode}: {''.join(last)[:_SAID]}",
                hint="Look at what it says, and try again.",
            )


def _has_spoken(process: subprocess.Popen[bytes], tell: Callable[[], None]) -> bool:
    """Wait for a command's first line; False when it ends without any."""
    if process.stdout is None:
        return False
    tell()
    while not select.select([process.stdout], [], [], _POLL_S)[0]:
        tell()
    return bool(process.stdout.readline())


def _to_its_end(process: subprocess.Popen[bytes], tell: Callable[[], None]) -> None:
    """End a command's input, and wait until it is done."""
    while True:
        tell()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_POLL_S)
            return
