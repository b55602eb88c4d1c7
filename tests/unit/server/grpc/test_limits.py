import re
from pathlib import Path

from inferonnx.server.grpc import guard, limits, reserved_bytes
from inferonnx.sizes import KIB, MIB

DOCS = Path(__file__).parents[4] / "docs"
CONNECTIONS = " ".join((DOCS / "connections.md").read_text().split("\n## gRPC\n")[1].split())


def test_windows_are_those_of_the_documentation():
    rows = re.findall(r"\| (\d+) (KiB|MiB) \| (\d+) MiB \|", CONNECTIONS)
    units = {"KiB": KIB, "MiB": MIB}
    assert [(int(each) * units[unit], int(whole) * MIB) for each, unit, whole in rows] == [
        (limits.WIDE_BYTES, limits.WIDE_CONNECTION_BYTES),
        (limits.NARROW_BYTES, limits.CONNECTION_BYTES),
    ]
    assert f"may have {limits.CALLS_EACH} calls at once" in CONNECTIONS


def test_floods_are_those_of_the_documentation():
    found = re.findall(r"(\d[\d,]*) (?:resets|frames) at once and (\d+) a second", CONNECTIONS)
    assert [(int(most.replace(",", "")), int(rate)) for most, rate in found] == [
        (guard.RESETS, guard.RESETS_PER_S),
        (guard.IDLE_FRAMES, guard.IDLE_FRAMES_PER_S),
    ]


def test_a_hundred_calls_can_wait_for_memory_together():
    assert limits.CALLS_EACH * limits.NARROW_BYTES < limits.UNRESERVED_BYTES
    assert f"{limits.UNRESERVED_BYTES // MIB} MiB" in CONNECTIONS
    assert f"more than {limits.CALLS} calls" in CONNECTIONS


def test_a_wide_client_waits_within_what_is_held():
    assert limits.WIDE_CONNECTION_BYTES <= limits.UNRESERVED_BYTES
    assert limits.WIDE_CONNECTION_BYTES >= 2 * limits.WIDE_BYTES  # it is opened at its half


def test_memory_that_is_kept_is_that_of_the_documentation():
    (connection, calls, waiting) = re.search(
        r"gRPC .* x (\d+) KiB, (\d+) MiB for 256 calls, (\d+) MiB",
        (DOCS / "serving.md").read_text(),
    ).groups()
    kept = int(connection) * KIB + (int(calls) + int(waiting)) * MIB
    assert reserved_bytes(1, 36 * KIB) == kept
