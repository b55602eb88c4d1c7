"""What the paper's measurements left behind, as values: `inferonnx.paper/1` and `.peers/1`.

The JSON objects, with bytes as whole numbers and times in milliseconds. Keys with a
default may be missing; others that are not listed are ignored.

    schema             "inferonnx.paper/1"
    machine            what it was measured on: text, numbers and lists of text, by name
    label              how the limit was held: "SGX", "EPC limit enforced by cgroup", ...
    limit_bytes        the limit, null where none was enforced
    runs               counted runs of each configuration
    partitions_folder  folder of the partitions within each model's folder (default "")
    fault              what a page fault costs: here_ns, swap, sgx_cycles, sgx_source (default none)
    started, seconds   when, and how long it took (default "" and null)
    rows               a model in a configuration:
        model, configuration   (`paper_form` lists both)
        limit_bytes, label     of this row (default null and "")
        total_ms               at the client, a run each
        server_ms, inference_ms, partition_ms   the same within the server (default null)
        major_faults           of each counted inference (default null)
        peak_bytes, streamed_bytes              (default null)
        cold                   whether the file's pages were dropped before each run
        error                  why there is nothing, null where all went well

Rows of `inferonnx.peers/1` have model, engine, form, storage, latency_ms, peak_bytes,
major_faults and error; the object's other keys are machine, label and limit_bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from inferonnx.report.checking import REQUIRED, Checker

if TYPE_CHECKING:
    from collections.abc import Mapping

PAPER_SCHEMA = "inferonnx.paper/1"
PEERS_SCHEMA = "inferonnx.peers/1"

_RESULTS = Checker("the results file")
_PEERS = Checker("the peers file")

_HEAD = {
    "label": ("text", REQUIRED),
    "limit_bytes": ("bytes?", None),
    "runs": ("bytes", 0),
    "partitions_folder": ("text", ""),
    "started": ("text", ""),
    "seconds": ("number?", None),
}
_FAULT = {
    "here_ns": ("number?", None),
    "swap": ("text?", None),
    "sgx_cycles": ("number?", None),
    "sgx_source": ("text?", None),
}
_ROW = {
    "model": ("text", REQUIRED),
    "configuration": ("text", REQUIRED),
    "limit_bytes": ("bytes?", None),
    "label": ("text", ""),
    "total_ms": ("numbers", ()),
    "server_ms": ("numbers?", None),
    "inference_ms": ("numbers?", None),
    "partition_ms": ("lists?", None),
    "major_faults": ("numbers?", None),
    "peak_bytes": ("bytes?", None),
    "streamed_bytes": ("bytes?", None),
    "cold": ("flag", False),
    "error": ("text?", None),
}
_PEER = {
    "model": ("text", REQUIRED),
    "engine": ("text", REQUIRED),
    "form": ("text", ""),
    "storage": ("text", ""),
    "latency_ms": ("numbers", ()),
    "peak_bytes": ("bytes?", None),
    "major_faults": ("numbers?", None),
    "error": ("text?", None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A model in one configuration; fields as at the head of this module."""

    model: str
    configuration: str
    limit_bytes: int | None
    label: str
    total_ms: tuple[float, ...]
    server_ms: tuple[float, ...] | None
    inference_ms: tuple[float, ...] | None
    partition_ms: tuple[tuple[float, ...], ...] | None
    major_faults: tuple[float, ...] | None
    peak_bytes: int | None
    streamed_bytes: int | None
    cold: bool
    error: str | None

    @property
    def ms(self) -> float | None:
        """The median of the total times, None where nothing was measured."""
        return middle(self.total_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A model in one engine, whole or in parts, from memory or from disk."""

    model: str
    engine: str
    form: str
    storage: str
    latency_ms: tuple[float, ...]
    peak_bytes: int | None
    major_faults: tuple[float, ...] | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """What was measured of engines beside ours."""

    label: str
    limit_bytes: int | None
    rows: tuple[Peer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What was measured, and on what; fields as at the head of this module."""

    machine: Mapping[str, str]
    label: str
    limit_bytes: int | None
    runs: int
    partitions_folder: str
    fault: Mapping[str, Any] | None
    started: str
    seconds: float | None
    rows: tuple[Row, ...]

    def row(self, model: str, configuration: str, *, limit_bytes: int | None = None) -> Row | None:
        """Return that row under the limit of the whole, or under another; None if there is none.

        A configuration that runs without a limit has one row, which is found for any limit.
        """
        limit = limit_bytes or self.limit_bytes
        found = [r for r in self.rows if (r.model, r.configuration) == (model, configuration)]
        return next((r for r in found if r.limit_bytes in (limit, None)), None)


def checked_results(data: Mapping[str, Any]) -> Results:
    """Return the results that a JSON object holds.

    Raises:
        UsageError: It is not of schema `inferonnx.paper/1`; the message names the place.
    """
    _RESULTS.schema(data, PAPER_SCHEMA)
    fault = data.get("fault")
    rows = _RESULTS.items(data, "rows")
    return Results(
        **_RESULTS.fields(data, _HEAD),
        machine=machine_text(data),
        fault=None if fault is None else _RESULTS.fields(fault, _FAULT, "fault."),
        rows=tuple(Row(**_frozen(_RESULTS.fields(r, _ROW, f"rows[{i}]."))) for i, r in rows),
    )


def checked_peers(data: Mapping[str, Any]) -> Peers:
    """Return what a JSON object holds of other engines.

    Raises:
        UsageError: It is not of schema `inferonnx.peers/1`; the message names the place.
    """
    _PEERS.schema(data, PEERS_SCHEMA)
    rows = _PEERS.items(data, "rows")
    head = _PEERS.fields(data, {"label": ("text", ""), "limit_bytes": ("bytes?", None)})
    return Peers(
        **head,
        rows=tuple(Peer(**_frozen(_PEERS.fields(r, _PEER, f"rows[{i}]."))) for i, r in rows),
    )


def middle(values: tuple[float, ...] | None) -> float | None:
    """Return the median, None of nothing."""
    return median(values) if values else None


def limit_text(label: str, limit_bytes: int | None) -> str:
    """Return how a limit was held and which, as every figure says it."""
    if limit_bytes is None:
        return label
    return f"{label}, {size_text(limit_bytes)}"


def size_text(n_bytes: int) -> str:
    """Return a size in MiB, without a fraction where it is whole."""
    mib = n_bytes / 2**20
    return f"{mib:.0f} MiB" if mib == int(mib) else f"{mib:.1f} MiB"


def machine_text(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the machine's facts as text, in their order; what is neither is left out."""
    machine = data.get("machine")
    facts = machine.items() if isinstance(machine, dict) else ()
    return {str(name): text for name, fact in facts if (text := _fact_text(str(name), fact))}


def _fact_text(name: str, fact: object) -> str:
    match fact:
        case bool() | None:
            return ""
        case int() if name.endswith("_bytes"):
            return f"{fact / 2**30:.1f} GiB"
        case str() | int() | float():
            return str(fact)
        case list():
            return ", ".join(word for word in fact if isinstance(word, str))
    return ""


def _frozen(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields with tuples in place of lists."""
    return {key: _tuples(value) for key, value in fields.items()}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list | tuple) else value
