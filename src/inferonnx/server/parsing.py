"""Parsing in memory that is counted before, and in threads where it takes long.

How much the values of a message take shows when they are made: a string of one letter takes
58 bytes. So what is likely is tried first, and more where that is too little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from inferonnx.oip import TooLargeError
from inferonnx.server.bodies import grow
from inferonnx.server.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inferonnx.server.ports import Reservation

T = TypeVar("T")


async def parse_within(
    parse: Callable[[int], T],
    reservation: Reservation,
    n_bytes: int,
    *,
    costs: Sequence[int],
    is_slow: bool = False,
) -> T:
    """Return what `parse` makes of a message in the memory that is reserved, or in more.

    Args:
        parse: Told what it may take, and raises TooLargeError where that does not do.
        reservation: Holds the message, and what is beside it.
        n_bytes: The message's.
        costs: What may be taken for each of its bytes, one after another, in a thread.
        is_slow: Whether the first attempt is for a thread, too.

    Raises:
        TooLargeError: It takes more than the last of `costs`.
        HttpError: 413, 503: there is no memory for it.
    """
    beside_bytes = reservation.n_bytes - n_bytes
    try:
        return await in_thread(None, parse, beside_bytes) if is_slow else parse(beside_bytes)
    except TooLargeError as error:
        refused = error
    for cost in costs:
        grow(reservation, max(0, cost * n_bytes - beside_bytes))
        beside_bytes = reservation.n_bytes - n_bytes
        try:
            return await in_thread(None, parse, beside_bytes)
        except TooLargeError as error:
            refused = error
    raise refused
