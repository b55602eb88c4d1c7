"""How the paper shows its results: which models stand in which panel, which bars in which figure.

Every figure and page is drawn from these tables. A bar's name says what was run; whether
that was a TEE is said by the measurement's own label, in the legend and the caption.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inferonnx.report.results import limit_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from inferonnx.report.results import Results

TITLES = {
    "squeezenet1.0-7": "SqueezeNet 1.0",
    "mobilenetv2-7": "MobileNetV2",
    "densenet-7": "DenseNet-121",
    "efficientnet-lite4-11": "EfficientNet-Lite4",
    "inception-v3-12": "Inception V3",
    "resnet101-v2-7": "ResNet-101 V2",
    "resnet152-v2-7": "ResNet-152 V2",
    "efficientnet-v2-l-18": "EfficientNetV2",
}
"""The models as the paper's figures name them, in its order."""

SMALL_MODELS = tuple(TITLES)[:4]
"""The left panel of figures 4 and 5."""

LARGE_MODELS = tuple(TITLES)[4:]
"""The right panel."""

SGX = "SGX"
"""The label of what was measured inside a TEE; whatever else it says stands in for one."""

PANELS = {"small": SMALL_MODELS, "large": LARGE_MODELS}


class Bar(NamedTuple):
    """A configuration as figures show it.

    Attributes:
        configuration: Its id in the results.
        name: In legends.
        fill: Its colour; the lightnesses differ, so that print without colours tells them apart.
        hatch: In matplotlib's spelling; no two bars of a figure have the same.
        is_ours: Whether it is no bar of the paper's.
    """

    configuration: str
    name: str
    fill: str
    hatch: str
    is_ours: bool = False


_ENTIRE = Bar("entire-disk-tee", "On disk, with TEE", "#1f3f77", "")
_STREAM = Bar("stream-tee", "Ours: sealed stream, with TEE", "#e8871e", "", is_ours=True)

FIGURES = {
    4: (
        _ENTIRE,
        Bar("entire-memory-tee", "Memory only, with TEE", "#7fa6db", "//////"),
        Bar("entire-disk-plain", "Without TEE, without TLS", "#f4f4f4", ""),
        Bar("entire-disk-plain-tls", "Without TEE, with TLS", "#c9c9c9", "....."),
        _STREAM,
    ),
    5: (
        _ENTIRE._replace(name="Entire model, with TEE"),
        Bar("partitions-disk-tee", "Its partitions, with TEE", "#9dbfe6", "\\\\\\\\\\\\"),
        _STREAM,
    ),
}
"""The bars of each figure, from left to right."""

NAMES = {
    "entire-disk-tee": "Entire model on disk, with TEE",
    "entire-memory-tee": "Entire model in memory only, with TEE",
    "entire-disk-plain": "Entire model on disk, without TEE, without TLS",
    "entire-disk-plain-tls": "Entire model on disk, without TEE, with TLS",
    "partitions-disk-tee": "Partitions on disk, with TEE",
    "stream-tee": "Our stream, with TEE",
    "stream-free": "Our stream, without a limit",
    "memory-plain": "Memory only, without TEE, TLS, encryption",
    "disk-plain": "On disk, without TEE, TLS, encryption",
    "disk-plain-cold": "On disk, caches dropped, without TEE, TLS, encryption",
}
"""Every configuration in words."""

_HEADS = {
    4: "Entire models: on disk and in memory only, with TEE and without",
    5: "Entire models and their partitions, on disk with TEE",
}


def figure_name(number: int, panel: str) -> str:
    """Return the name of a figure's file, without what its kind adds."""
    return f"figure{number}_{panel}_models"


def figure_head(number: int) -> str:
    """Return what a figure is about."""
    return _HEADS[number]


def tee_text(results: Results) -> str:
    """Return what "with TEE" is in these results: how the limit was held, and which."""
    text = limit_text(results.label, results.limit_bytes)
    return f"TEE: {text}" if results.label == SGX else f"In place of a TEE: {text}"


def runs_text(counts: Collection[int]) -> str:
    """Return how many runs there were of each, in words."""
    least, most = min(counts, default=0), max(counts, default=0)
    if least != most:
        return f"{least} to {most} runs"
    return "1 run" if most == 1 else f"{most} runs"


def _counts(results: Results, number: int, panel: str) -> set[int]:
    """Return how many runs the bars of a panel, or of both, have: short ones may have more."""
    models = PANELS[panel] if panel else tuple(TITLES)
    bars = FIGURES[number]
    found = [results.row(model, bar.configuration) for model in models for bar in bars]
    return {len(row.total_ms) for row in found if row is not None and row.total_ms}


def caption(results: Results, number: int, panel: str = "") -> str:
    """Return the whole caption of one panel, or of both."""
    runs = runs_text(_counts(results, number, panel))
    parts = [
        f"Figure {number}{f', {panel} models' if panel else ''}. {_HEADS[number]}.",
        f"Total time at the client, median of {runs}; whiskers from the least to the most.",
        f"With TEE: sealed, over TLS. {tee_text(results)}.",
    ]
    if number == 4:  # the paper's text and its scripts differ, so both are shown
        parts.append(
            "Without TEE: on disk, unencrypted and without a limit; once without TLS, as the "
            "artifact describes it, and once with TLS, as its scripts run it."
        )
    parts.append("Ours: the sealed stream with its own plan, over TLS, under the same limit.")
    machine = results.machine
    if "cpu" in machine:
        cores = f", {machine['cores']} cores" if "cores" in machine else ""
        parts.append(f"Measured on {machine['cpu']}{cores}.")
    return " ".join(parts)
