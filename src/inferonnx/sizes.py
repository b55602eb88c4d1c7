"""Sizes in bytes as people write them: parse and show."""

from __future__ import annotations

import re

from inferonnx.errors import UsageError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": KIB, "MiB": MIB, "GiB": GIB}
# At most 20 digits: Python refuses to read thousands, and no memory or disk has more.
_SIZE = re.compile(r"(\d{1,20}(?:\.\d{1,20})?) ?([A-Za-z]*)", re.ASCII)


def parse_size(text: str | int) -> int:
    """Return the number of bytes that `text` names.

    Plain bytes, kB, MB, GB (decimal) and KiB, MiB, GiB (binary) are understood;
    everything else is refused, since "M" means two things.

    Raises:
        UsageError: `text` is not a size, or not a whole number of bytes.
    """
    if not isinstance(text, str | int) or isinstance(text, bool):  # callers check no types
        raise UsageError(f"{text!r:.60} is not a size", hint='Give whole bytes, or "85MiB".')
    if isinstance(text, int):
        if text < 0:
            raise UsageError(f"a size can't be negative: {text}")
        return text
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2] not in _UNITS:
        raise UsageError(
            f"{text!r:.60} is not a size",
            hint="Write bytes, or a number with kB, MB, GB, KiB, MiB or GiB: 85MiB.",
        )
    whole, _, fraction = match[1].partition(".")
    scale = int(10 ** len(fraction))
    amount = int(whole + fraction) * _UNITS[match[2]]
    if amount % scale:
        raise UsageError(
            f"{text!r} is not a whole number of bytes", hint="Write fewer digits after the point."
        )
    return amount // scale


def format_size(n_bytes: int) -> str:
    """Return `n_bytes` for a person: MiB with one decimal, KiB or bytes when small."""
    if abs(n_bytes) >= MIB:
        return f"{n_bytes / MIB:.1f} MiB"
    if abs(n_bytes) >= KIB:
        return f"{n_bytes / KIB:.1f} KiB"
    return f"{n_bytes} B"
