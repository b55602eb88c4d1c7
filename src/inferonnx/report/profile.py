"""A profile's page: where a model's memory and time go, operator by operator.

What it is drawn from is one JSON object, `inferonnx.profile/1`; bytes are whole numbers,
times milliseconds, and keys with a default may be missing:

    schema             "inferonnx.profile/1"
    model              name of the model
    machine            what it was measured on, by name (default none)
    epc_bytes          the enclave page cache that it is compared with
    limit_bytes        the limit that was enforced for "inside"; null where none was
    label              what held it
    weights_bytes      all weights, each once
    activation_bytes   most bytes of values that are alive at once
    entire_peak_bytes  both together: the entire model at once
    notes              sentences for the reader (default none)
    operators          in the order of the graph, at least one:
        index, name, type
        weights_bytes      its own
        activation_bytes   its inputs and outputs
        peak_bytes         both: what it needs by itself
        alive_bytes        all values that are alive while it runs
        outside_ms         without a limit
        inside_ms, faults  within it; null where none was enforced
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inferonnx.errors import UsageError
from inferonnx.report.checking import REQUIRED, Checker
from inferonnx.report.joining import joined_page
from inferonnx.report.markup import embedded, escaped, sheet, tiles
from inferonnx.report.results import limit_text, machine_text, size_text
from inferonnx.report.text import format_duration
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping

PROFILE_SCHEMA = "inferonnx.profile/1"

_STYLES = ("base.css", "sheet.css", "profile.css")
_PROGRAMS = (
    "numbers.js",
    "elements.js",
    "theme.js",
    "steps.js",
    "curve.js",
    "sorting.js",
    "profile.js",
)

_CHECKER = Checker("the profile")

_HEAD = {
    "model": ("text", REQUIRED),
    "epc_bytes": ("bytes", REQUIRED),
    "limit_bytes": ("bytes?", None),
    "label": ("text", REQUIRED),
    "weights_bytes": ("bytes", REQUIRED),
    "activation_bytes": ("bytes", REQUIRED),
    "entire_peak_bytes": ("bytes", REQUIRED),
}
_OPERATOR = {
    "index": ("bytes", REQUIRED),
    "name": ("text", REQUIRED),
    "type": ("text", REQUIRED),
    "weights_bytes": ("bytes", REQUIRED),
    "activation_bytes": ("bytes", REQUIRED),
    "peak_bytes": ("bytes", REQUIRED),
    "alive_bytes": ("bytes", REQUIRED),
    "outside_ms": ("number", REQUIRED),
    "inside_ms": ("number?", None),
    "faults": ("number?", None),
}


def checked_profile(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of the schema in `data`, with defaults filled in and nothing else.

    Raises:
        UsageError: `data` is not such an object; the message names the place.
    """
    _CHECKER.schema(data, PROFILE_SCHEMA)
    profile = _CHECKER.fields(data, _HEAD)
    profile["machine"] = machine_text(data)
    notes = _CHECKER.items(data, "notes")
    profile["notes"] = [_CHECKER.value("text", note, f"notes[{i}]") for i, note in notes]
    profile["operators"] = [
        _CHECKER.fields(row, _OPERATOR, f"operators[{i}].")
        for i, row in _CHECKER.items(data, "operators")
    ]
    if not profile["operators"]:
        raise UsageError("the profile has no operators", where="operators")
    return profile


def profile_page(data: Mapping[str, Any]) -> str:
    """Return a profile as one self-contained HTML page, to be written as UTF-8.

    The same data gives the same page.

    Raises:
        UsageError: `data` does not follow the schema.
    """
    profile = checked_profile(data)
    slots = {
        "model": escaped(profile["model"]),
        "summary": escaped(_summary(profile)),
        "peak": escaped(format_size(profile["entire_peak_bytes"])),
        "verdict": escaped(_verdict(profile)),
        "state": "over" if profile["entire_peak_bytes"] > profile["epc_bytes"] else "within",
        "tiles": tiles(_facts(profile)),
        "held": escaped(_held(profile)),
        "types": _types(profile),
        "operators": _operators(profile),
        "notes": "".join(f"<li><bdi>{escaped(note)}</bdi></li>" for note in profile["notes"]),
        "machine": _machine(profile["machine"]),
        "data": embedded({key: profile[key] for key in profile if key != "machine"}),
    }
    title = escaped(f"{profile['model']}: where memory and time go")
    return joined_page(
        "profile.html", title=title, styles=_STYLES, programs=_PROGRAMS, slots=slots
    ).text


def _summary(profile: Mapping[str, Any]) -> str:
    n_operators = len(profile["operators"])
    count = "1 operator" if n_operators == 1 else f"{n_operators} operators"
    return f"{count} of the original graph · {limit_text(profile['label'], profile['limit_bytes'])}"


def _verdict(profile: Mapping[str, Any]) -> str:
    epc, entire = profile["epc_bytes"], profile["entire_peak_bytes"]
    if entire > epc:
        return f"{entire / epc:.1f} times the EPC of {size_text(epc)}" if epc else "and no EPC"
    return f"within the EPC of {size_text(epc)}"


def _facts(profile: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    operators = profile["operators"]
    largest = max(operators, key=lambda one: one["peak_bytes"])
    above = sum(one["peak_bytes"] > profile["epc_bytes"] for one in operators)
    outside = sum(one["outside_ms"] for one in operators)
    facts = [
        ("Weights", format_size(profile["weights_bytes"]), "each counted once"),
        ("Activations", format_size(profile["activation_bytes"]), "alive at once, at their peak"),
        ("Largest operator", format_size(largest["peak_bytes"]), f"by itself, {largest['type']}"),
        ("Above the EPC", f"{above}", f"of {len(operators)} operators, by themselves"),
        ("Outside", format_duration(outside / 1e3), "all operators, without a limit"),
    ]
    inside = [one["inside_ms"] for one in operators if one["inside_ms"] is not None]
    if inside:
        remark = f"{sum(inside) / outside:.1f} times that outside" if outside else ""
        faults = sum(one["faults"] or 0 for one in operators)
        remark += f"; {faults:,.0f} major faults a pass"
        facts.append(("Inside", format_duration(sum(inside) / 1e3), remark.removeprefix("; ")))
    return facts


def _held(profile: Mapping[str, Any]) -> str:
    if any(one["inside_ms"] is not None for one in profile["operators"]):
        return f"Inside: {limit_text(profile['label'], profile['limit_bytes'])}."
    return "Not measured inside a limit: none was enforced."


def _types(profile: Mapping[str, Any]) -> str:
    """Return a table of operator types, those that take the most time first."""
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for one in profile["operators"]:
        kinds.setdefault(one["type"], []).append(one)
    whole = sum(one["outside_ms"] for one in profile["operators"]) or 1.0
    rows = []
    for kind, ones in kinds.items():
        ms = sum(one["outside_ms"] for one in ones)
        weights = sum(one["weights_bytes"] for one in ones)
        most = max(one["peak_bytes"] for one in ones)
        cells = (
            str(len(ones)),
            f"{ms:.2f}",
            f"{ms / whole:.0%}",
            *map(format_size, (weights, most)),
        )
        rows.append((ms, (kind, *cells)))
    rows.sort(key=lambda row: -row[0])
    heads = ("Type", "operators", "ms", "of the time", "weights", "largest by itself")
    return sheet(heads, [row for _, row in rows])


def _operators(profile: Mapping[str, Any]) -> str:
    rows = [
        (
            f"{one['index']} {one['type']}",
            one["name"] or "–",
            format_size(one["weights_bytes"]),
            format_size(one["activation_bytes"]),
            format_size(one["peak_bytes"]),
            f"{one['outside_ms']:.3f}",
            "–" if one["inside_ms"] is None else f"{one['inside_ms']:.3f}",
            "–" if one["faults"] is None else f"{one['faults']:,.0f}",
        )
        for one in profile["operators"]
    ]
    heads = ("Operator", "name", "weights", "activations", "by itself", "outside, ms")
    return sheet((*heads, "inside, ms", "faults"), rows)


def _machine(facts: Mapping[str, str]) -> str:
    return "".join(
        f"<div><dt>{escaped(name.replace('_bytes', ''))}</dt><dd>{escaped(fact)}</dd></div>"
        for name, fact in facts.items()
    )
