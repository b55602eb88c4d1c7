"""What of a model stays in memory, and how many calls run at once: a budget, divided.

What is left beside the floor, a pass and waiting calls holds weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inferonnx.app.host.needs import parallel_bytes, sharing_bytes, sharing_calls
from inferonnx.errors import InfeasibleBudgetError
from inferonnx.plan import choose_resident
from inferonnx.runtime import process
from inferonnx.sizes import MIB, format_size

if TYPE_CHECKING:
    from inferonnx.sealed import Manifest, Memory


class Held(NamedTuple):
    """What a process holds when the sessions of a model are made, in bytes.

    Attributes:
        floor_bytes: All of it.
        session_bytes: The part that making the sessions took.
        opening_peak_bytes: What opening reached; 0 where that was reached before, or
            others had their part in it.
        measured: Whether the system tells; else these are the figures of sealing.
    """

    floor_bytes: int
    session_bytes: int
    opening_peak_bytes: int
    measured: bool


class Placement(NamedTuple):
    """How a budget is used.

    Attributes:
        resident: Numbers of the partitions whose weights stay.
        concurrency: Calls that may share a pass.
        n_parallel: Calls that may run at once when everything is resident.
        pass_bytes: What passes may take beside floor and weights.
        peak_bytes: Predicted peak of the process.
    """

    resident: frozenset[int]
    concurrency: int
    n_parallel: int
    pass_bytes: int
    peak_bytes: int


def measure_held(memory: Memory, *, before_bytes: int, peak_before: int | None) -> Held:
    """Return what this process holds now.

    Args:
        memory: What was measured while sealing: it counts where the system tells nothing.
        before_bytes: What was resident before the sessions were made.
        peak_before: VmHWM when opening began, in bytes; None where others run beside.
    """
    floor, peak = process.resident_bytes(), process.peak_resident_bytes()
    # The least budget of sealing is never below what opening took.
    opening_peak = memory.least_bytes if peak is None else peak
    if peak_before is None or (peak is not None and peak <= peak_before):
        opening_peak = 0
    return Held(
        floor_bytes=memory.floor_bytes if floor is None else floor,
        session_bytes=memory.session_bytes if floor is None else max(0, floor - before_bytes),
        opening_peak_bytes=opening_peak,
        measured=floor is not None and peak is not None,
    )


def place(
    manifest: Manifest, held: Held, budget: int, *, most_calls: int, may_stay: bool
) -> Placement:
    """Divide the budget.

    Args:
        manifest: Blocks and measured figures.
        held: What the process holds already.
        budget: Bytes.
        most_calls: Calls that may share a pass, or run at once: as many as there is room for.
        may_stay: Whether weights may stay decrypted between passes.

    Raises:
        InfeasibleBudgetError: The budget does not hold floor, pass and largest block,
            or opening itself took more.
    """
    blocks = [partition.block_bytes for partition in manifest.partitions]
    largest = max(blocks, default=0)
    spare = budget - held.floor_bytes
    concurrency = sharing_calls(manifest, spare - sharing_bytes(manifest, 1) - largest, most_calls)
    sharing = sharing_bytes(manifest, concurrency)
    _check_budget(budget, max(held.floor_bytes + sharing + largest, held.opening_peak_bytes))
    resident, buffer_bytes = frozenset[int](), largest
    if may_stay:
        resident, buffer_bytes = choose_resident(blocks, available_bytes=spare - sharing)
    used = buffer_bytes + sum(blocks[i] for i in resident)
    n_parallel = 1
    if not buffer_bytes:
        for more in range(2, most_calls + 1):
            n_parallel = more if parallel_bytes(manifest, more) <= spare - used else n_parallel
    pass_bytes = max(sharing, parallel_bytes(manifest, n_parallel))
    return Placement(
        resident=resident,
        concurrency=concurrency,
        n_parallel=n_parallel,
        pass_bytes=pass_bytes,
        peak_bytes=max(held.floor_bytes + used + pass_bytes, held.opening_peak_bytes),
    )


def _check_budget(budget: int, least: int) -> None:
    if least > budget:
        raise InfeasibleBudgetError(
            f"this model needs at least {format_size(least)} here, the budget is "
            f"{format_size(budget)}",
            needed_bytes=least,
            budget_bytes=budget,
            hint=f"Give it --memory {-(-least // MIB)}MiB, or seal it for a smaller budget.",
        )
