"""What an inference costs in instructions and cache misses: counted by perf, or simulated.

Both count whole processes of `bench.counted`; what an inference takes is the difference
between one with more inferences and one with fewer. The simulator has the caches of one
processor wherever it runs, so that its figures can be compared; it knows no AVX-512, and
onnxruntime chooses AVX2 under it.
"""

from __future__ import annotations

import os
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

EVENTS = ("cycles", "instructions", "cache-references", "cache-misses")
"""As perf names them; the caches are the last level."""

CACHES = ("--I1=32768,8,64", "--D1=32768,8,64", "--LL=8388608,16,64")
"""Of desktop processors with SGX and an EPC of 128 MiB (Xeon E-2174G): bytes, ways, line."""

_POLL_S = 0.5
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
        repeats: Whether it counts the same each time, so that one inference is enough.
        measure: Runs a command and returns what it took.
    """

    label: str
    repeats: bool
    measure: Callable[[Sequence[str], Callable[[str], None]], Counts]


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
    return Counter(f"simulated by cachegrind ({version}), AVX2", True, cachegrind)


def perf(argv: Sequence[str], progress: Callable[[str], None]) -> Counts:
    """Count a command with the processor's own counters.

    Raises:
        UnavailableError: It fails, or a counter is not supported.
    """
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


def cachegrind(argv: Sequence[str], progress: Callable[[str], None]) -> Counts:
    """Simulate a command.

    Raises:
        UnavailableError: It fails.
    """
    with scratch_folder() as scratch:
        out = os.path.join(scratch, "cachegrind.out")
        tool = ["--tool=cachegrind", "--cache-sim=yes", f"--cachegrind-out-file={out}", *CACHES]
        _run(["valgrind", *tool, *argv], progress)
        found = parse_cachegrind(read_file(out).decode("utf-8", "replace"))
    references = sum(found[event] for event in ("I1mr", "D1mr", "D1mw"))
    misses = sum(found[event] for event in ("ILmr", "DLmr", "DLmw"))
    return Counts(float(found["Ir"]), None, float(references), float(misses))


def parse_perf(text: str) -> Mapping[str, int | None]:
    """Return what `perf stat -x,` wrote, by event; None where it is not supported."""
    found: dict[str, int | None] = {}
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and not line.startswith("#"):
            value = fields[0].strip()
            found[fields[2].partition(":")[0]] = int(value) if value.isdecimal() else None
    return found


def parse_cachegrind(text: str) -> Mapping[str, int]:
    """Return the totals of a file of cachegrind, by event.

    Raises:
        UnavailableError: It has none.
    """
    lines = dict(
        line.split(": ", 1) for line in text.splitlines() if line.startswith(("events", "summary"))
    )
    names, numbers = lines.get("events", "").split(), lines.get("summary", "").split()
    if not names or len(names) != len(numbers):
        raise UnavailableError("the simulator wrote no totals", hint="Try again.")
    return dict(zip(names, map(int, numbers), strict=True))


def _perf_counts_cycles() -> bool:
    if shutil.which("perf") is None:
        return False
    command = ["perf", "stat", "-x,", "-e", "cycles:u", "--", sys.executable, "-S", "-c", ""]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return bool(parse_perf(done.stderr).get("cycles"))


def _run(argv: Sequence[str], progress: Callable[[str], None]) -> None:
    """Run a long command to its end; an interrupt, which `progress` may raise, ends it."""
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    started = time.monotonic()
    with scratch_folder() as scratch, open(os.path.join(scratch, "said"), "w+b") as said:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment
        )
        try:
            while True:
                progress(f"{time.monotonic() - started:.0f} s")
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_S)
                    break
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:]
            raise UnavailableError(
                f"{argv[0]} ended with code {process.returncode}: {''.join(last)[:_SAID]}",
                hint="Look at what it says, and try again.",
            )
