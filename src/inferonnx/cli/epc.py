"""`inferonnx epc`: run a command under a memory limit that the kernel enforces, as an EPC would."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from inferonnx import epc
from inferonnx.cli.options import size, verb
from inferonnx.cli.printing import printable, say
from inferonnx.cli.progress import Progress
from inferonnx.errors import ExitCode, UsageError
from inferonnx.sizes import format_size, parse_size

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs

_DESCRIPTION = """\
An enclave page cache without SGX: a memory cgroup with a limit, and swap behind it.

What does not fit is paged out and faulted back, and every page counts, those of the
interpreter and the libraries too. `run` puts a command inside and tells its faults,
`cost` measures what one costs here. Needs root; swap and settings of the machine are
changed only with --allow-system-changes, and put back whatever happens."""

_RUN = """\
Run a command inside the limit; its output is its own, its exit code is ours.

Afterwards stderr has the time, the major faults and the memory, under the label that
every figure of it must carry. Where no limit can be enforced the command runs without
one, and the label says so."""

_COST = """\
Measure what a page that was paged out costs here, beside what SGX pays for one.

A child touches twice the memory that the limit has, and times what faults."""


def add_parser(verbs: Verbs, name: str = "epc") -> None:
    """Register the verb and its commands."""
    parser = verb(
        verbs,
        name,
        _DESCRIPTION,
        "  sudo inferonnx epc run --limit 85MiB --allow-system-changes -- python infer.py\n"
        "  sudo inferonnx epc cost --allow-system-changes\n"
        "  inferonnx epc status",
    )
    parser.add_argument("--cleanup", action="store_true", help="the same as the command `cleanup`")
    parser.set_defaults(run=_cleanup_or_complain)
    commands = parser.add_subparsers(dest="epc_command", metavar="COMMAND")
    running = verb(
        commands,
        "run",
        _RUN,
        "  sudo inferonnx epc run --limit 85MiB --allow-system-changes --warm m.sealed -- \\\n"
        "    inferonnx run m.sealed --key owner.key --input x.npz --memory 85MiB --repeat 9",
        overview="run a command inside the limit",
    )
    _add_options(running)
    running.add_argument(
        "--warm",
        metavar="FILE",
        action="append",
        default=[],
        help="read FILE from outside first, so that its page cache is the host's and does "
        "not count: sealed files (again for each)",
    )
    running.add_argument("command", metavar="CMD", nargs="+", help="the command, after --")
    running.set_defaults(run=_run)
    cost = verb(commands, "cost", _COST, "", overview="measure what a fault costs here")
    _add_options(cost)
    cost.set_defaults(run=_cost)
    status = verb(
        commands,
        "status",
        "Say what this machine has for an enforced limit, and what is in the way.",
        "",
        overview="say what is here and what is in the way",
    )
    status.set_defaults(run=_status)
    clean = verb(
        commands,
        "cleanup",
        "Undo what a killed measurement has left: swap, settings and cgroups of ours only.",
        "",
        overview="undo what a killed measurement has left",
    )
    clean.set_defaults(run=_cleanup)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit",
        metavar="SIZE",
        type=size,
        default=parse_size("85MiB"),
        help="what all processes inside may hold together (default: 85MiB)",
    )
    parser.add_argument(
        "--allow-system-changes",
        action="store_true",
        help="make swap (zram, else a file) and set vm.page-cluster to 0 meanwhile",
    )
    parser.add_argument(
        "--swap",
        metavar="SIZE",
        type=size,
        default=epc.SWAP_BYTES,
        help="how much of it (default: 4GiB; zram at most half of the memory)",
    )
    parser.add_argument(
        "--no-zram", action="store_true", help="make swap in a file even where there is zram"
    )
    parser.add_argument(
        "--scratch",
        metavar="DIR",
        default=None,
        help="folder for fresh copies of libraries, and the swap file where there is no zram "
        "(default: inferonnx/epc in the user's cache folder)",
    )


def _limit(options: argparse.Namespace, progress: Progress, stack: ExitStack) -> epc.Limit:
    enforced = epc.enforce(
        options.limit,
        allow_system_changes=options.allow_system_changes,
        scratch=options.scratch,
        swap_bytes=options.swap,
        zram=not options.no_zram,
        progress=progress,
    )
    return stack.enter_context(enforced)


def _run(options: argparse.Namespace) -> int:
    progress = Progress()
    reason = epc.obstacle(allow_system_changes=options.allow_system_changes)
    with ExitStack() as stack:
        if reason is None:
            limit = _limit(options, progress, stack)
        else:
            say(f"{reason.message}; measuring without a limit")
            print(f"hint: {printable(reason.hint)}", file=sys.stderr)
            limit = epc.unlimited()
        for path in options.warm:
            epc.warm(path)
        process = limit.spawn(options.command)
        progress.done()
        start = time.perf_counter()
        try:
            # It stays to be asked for its faults until it is waited for.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            _tell(limit, time.perf_counter() - start)
        finally:
            process.kill()
            process.wait()
        return _code(process.returncode)


def _tell(limit: epc.Limit, seconds: float) -> None:
    """Print what was measured, under its label."""
    usage = limit.usage()
    held = "" if limit.limit_bytes is None else f", {format_size(limit.limit_bytes)}, {limit.swap}"
    say(f"{limit.label.value}{held}: {seconds:.2f} s, {usage.major_faults} major faults")
    if limit.limit_bytes is None:
        return
    peak = "" if usage.peak_bytes is None else f"at most {format_size(usage.peak_bytes)} charged; "
    say(f"{peak}{usage.swapped_in} pages swapped in, {usage.swapped_out} out")
    if limit.page_cluster:
        say(f"vm.page-cluster was {limit.page_cluster}, so a fault may bring several pages")
    if usage.oom_kills:
        say(f"the kernel killed {usage.oom_kills} processes: the swap was full; give more --swap")


def _code(code: int) -> int:
    """Return the exit code for a shell: of a command that a signal ended, 128 and its number."""
    return 128 - code if code < 0 else code


def _cost(options: argparse.Namespace) -> int:
    progress = Progress()
    with ExitStack() as stack:
        limit = _limit(options, progress, stack)
        progress("measuring: pages are touched that were paged out")
        cost = epc.fault_cost(limit)
        progress.done()
    cycles = epc.PUBLISHED_SGX_FAULT_CYCLES
    mhz = epc.cpu_mhz()
    then = f", {cycles / mhz:.1f} us at this machine's {mhz:.0f} MHz" if mhz else ""
    print(f"{limit.label.value}, {format_size(options.limit)}, {limit.swap}")
    print(
        f"a fault here   {cost.median_ns / 1e3:.1f} us (median; {cost.mean_ns / 1e3:.1f} us on "
        f"average, pages written out for it included; {cost.n_faults} faults)"
    )
    print(f"a fault on SGX {cycles:,} cycles{then} ({epc.PUBLISHED_SGX_FAULT_SOURCE})")
    return ExitCode.DONE


def _status(_options: argparse.Namespace) -> int:
    for name, value in epc.describe():
        print(f"{name:<14} {printable(value)}")
    return ExitCode.DONE


def _cleanup(_options: argparse.Namespace) -> int:
    done = epc.cleanup()
    for words in done:
        say(words)
    if not done:
        say("nothing was left to undo")
    return ExitCode.DONE


def _cleanup_or_complain(options: argparse.Namespace) -> int:
    if options.cleanup:
        return _cleanup(options)
    raise UsageError("epc needs a command", hint="See inferonnx epc --help.")
