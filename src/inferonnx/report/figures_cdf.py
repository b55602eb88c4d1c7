"""Figure 3 of the later artifact: how memory is distributed over partitions, model by model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from inferonnx.report.figures import INK, LIMIT, SOFT, figure
from inferonnx.report.paper_form import FIGURES
from inferonnx.report.paper_tables import title
from inferonnx.report.results import size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "figure3_cdf"

_COLUMNS = 4
_MIB = 2**20
_CAPTION = (
    "Figure 3. Memory of each model's partitions (how many: in brackets), as the part of them "
    "that needs at most so much. Dotted: its single operators. Mark: the entire model. By exact "
    "accounting: weights, and the values that are alive at once; what an allocator rounds up, the "
    "runtime and the process itself are not in it. An operator by itself: weights, inputs, outputs."
)


class Held(NamedTuple):
    """What one model needs, in bytes.

    Attributes:
        model: Its name.
        entire: The whole of it at once.
        partitions: Each of its partitions.
        operators: Each operator by itself.
    """

    model: str
    entire: int
    partitions: tuple[int, ...]
    operators: tuple[int, ...]


def draw_cdf(models: Sequence[Held], limit_bytes: int, folder: str) -> list[str]:
    """Draw the distributions of each model in a panel of its own; return the files.

    Raises:
        UnavailableError: There is no matplotlib, or the folder can't be written.
    """
    n_rows = -(-len(models) // _COLUMNS)
    n_columns = min(len(models), _COLUMNS)
    most = max(*(one.entire for one in models), limit_bytes) / _MIB
    least = min(n for one in models for n in (*one.partitions, one.entire)) / _MIB
    limits = (min(1.0, least * 0.8), most * 1.6)
    with figure(7.2, 1.5 * n_rows, _CAPTION, n_rows=n_rows, n_columns=n_columns) as canvas:
        for i, (axes, held) in enumerate(zip(canvas.panels, models, strict=False)):
            _panel(axes, held, limit_bytes, limits)
            if i % n_columns:
                axes.tick_params(axis="y", labelleft=False)
            else:
                axes.set_ylabel("Part of the partitions", fontsize=7.2)
            if i + n_columns >= len(models):
                axes.set_xlabel("MiB", fontsize=7.2, labelpad=1)
        for axes in canvas.panels[len(models) :]:
            axes.set_axis_off()
        canvas.panels[0].legend(
            loc="lower left",
            bbox_to_anchor=(-0.1, 1.2),
            ncols=4,
            fontsize=6.8,
            frameon=False,
            columnspacing=1.4,
        )
        return canvas.save(folder, NAME)


def cumulative(values: Sequence[int]) -> list[tuple[int, float]]:
    """Return values in order, each with the part of all that is at most as large."""
    ordered = sorted(values)
    return [(value, (i + 1) / len(ordered)) for i, value in enumerate(ordered)]


def _panel(axes: Any, held: Held, limit_bytes: int, limits: tuple[float, float]) -> None:
    partitions, entire = FIGURES[5][1].fill, FIGURES[5][0].fill
    for values, name, style in (
        (held.operators, "operators", {"color": SOFT, "linewidth": 0.7, "linestyle": ":"}),
        (held.partitions, "partitions", {"color": entire, "linewidth": 1.4}),
    ):
        steps = cumulative(values)
        x = [limits[0], *(max(value / _MIB, limits[0]) for value, _ in steps), limits[1]]
        y = [0.0, *(part for _, part in steps), 1.0]
        axes.step(x, y, where="post", label=name, **style)
    dot = {"marker": "D", "markersize": 4, "markerfacecolor": partitions}
    edge = {"markeredgecolor": INK, "markeredgewidth": 0.7, "linestyle": "none"}
    axes.plot([held.entire / _MIB], [1.0], label="entire model", clip_on=False, **dot, **edge)
    line = {"color": LIMIT, "linewidth": 1.0, "linestyle": "--"}
    axes.axvline(limit_bytes / _MIB, label=f"{size_text(limit_bytes)}", **line)
    count = len(held.partitions)
    name = f"{title(held.model)} ({count})"
    axes.set_title(name, fontsize=7.6, fontweight="bold", pad=5)
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_formatter(lambda mib, _: f"{mib:g}")
    axes.tick_params(labelsize=6.6, width=0.6, length=2.5, pad=2)
    axes.tick_params(which="minor", length=1.5, width=0.4)
    axes.grid(color="#e2e2e2", linewidth=0.4)
