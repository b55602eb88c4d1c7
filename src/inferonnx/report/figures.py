"""Figures 4 and 5 in the paper's form, for print: PDF and PNG, by matplotlib.

The same results give the same bytes: no date is written, fonts and settings are
matplotlib's own and not the user's. Bars differ in lightness and hatching, so that
they can be told apart without colours.
"""

from __future__ import annotations

import os
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from inferonnx.errors import UnavailableError
from inferonnx.report.paper_form import (
    FIGURES,
    PANELS,
    TITLES,
    caption,
    figure_name,
    tee_text,
)
from inferonnx.report.paper_tables import ms_text
from inferonnx.runtime.whole_files import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inferonnx.report.paper_form import Bar
    from inferonnx.report.results import Results, Row

INK = "#111111"
SOFT = "#555555"
LIMIT = "#b3261e"

_SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "hatch.linewidth": 0.6,
    "hatch.color": INK,
    "pdf.fonttype": 42,  # whole letters, as publishers ask for
    "savefig.dpi": 200,
}

_WIDTH = 7.2
"""Inches: across both columns of a page."""

_BARS_HEIGHT = 2.35

_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": "InferONNX", "Producer": None},
    "png": {"Software": None},
}

_CAPTION_CHARACTERS = 146
"""Of a line: letters are 3.3 points wide in the mean, and there is room for 3.47."""

_LINE = 0.132
"""Inches of a caption's line."""


def draw_figures(results: Results, folder: str) -> list[str]:
    """Draw both panels of figures 4 and 5 as PDF and PNG; return the files.

    A panel of whose bars nothing was measured is left out.

    Raises:
        UnavailableError: There is no matplotlib, or the folder can't be written.
    """
    paths = []
    for number, bars in FIGURES.items():
        for panel, models in PANELS.items():
            rows = {(m, b): results.row(m, b.configuration) for m in models for b in bars}
            measured = {key: row for key, row in rows.items() if row is not None and row.total_ms}
            if measured:
                with figure(_WIDTH, _BARS_HEIGHT, caption(results, number, panel)) as canvas:
                    axes = canvas.panels[0]
                    _draw_bars(axes, models, bars, measured)
                    _legend(axes, bars, tee_text(results))
                    paths += canvas.save(folder, figure_name(number, panel))
    return paths


class Canvas(NamedTuple):
    """Axes, row by row, above a caption."""

    panels: tuple[Any, ...]
    whole: Any

    def save(self, folder: str, name: str) -> list[str]:
        """Write PDF and PNG, each whole or not at all; return the files."""
        paths = []
        for kind, metadata in _METADATA.items():
            path = os.path.join(folder, f"{name}.{kind}")
            with whole_file(path) as file:
                self.whole.savefig(file, format=kind, metadata=metadata)
            paths.append(path)
        return paths


def check_drawing() -> None:
    """Find out whether figures can be drawn, before anything is measured for them.

    Raises:
        UnavailableError: There is no matplotlib.
    """
    try:
        import matplotlib.figure  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise UnavailableError(
            "figures are drawn by matplotlib, which is not installed",
            hint="Install it with `pip install 'inferonnx[paper]'`.",
        ) from error


@contextmanager
def figure(
    width: float, height: float, caption: str, *, n_rows: int = 1, n_columns: int = 1
) -> Iterator[Canvas]:
    """Give panels of that height in inches together; what is drawn within has our settings.

    Raises:
        UnavailableError: There is no matplotlib.
    """
    check_drawing()
    from matplotlib import style
    from matplotlib.figure import Figure

    lines = textwrap.wrap(caption, int(_CAPTION_CHARACTERS * width / _WIDTH))
    below, above = 0.48 + _LINE * len(lines), 0.5
    full = below + height + above
    with style.context(["default", _SETTINGS]):
        whole = Figure(figsize=(width, full), facecolor="white")
        grid = {
            "left": 0.68 / width,
            "right": 1 - 0.08 / width,
            "bottom": below / full,
            "top": 1 - above / full,
            "wspace": 0.12,
            "hspace": 0.42,
        }
        panels = whole.subplots(n_rows, n_columns, squeeze=False, gridspec_kw=grid)
        text: dict[str, Any] = {"fontsize": 6.6, "color": SOFT, "va": "bottom", "linespacing": 1.35}
        whole.text(0.08 / width, 0.08 / full, "\n".join(lines), **text)
        yield Canvas(tuple(panels.flat), whole)


def _draw_bars(
    axes: Any,
    models: tuple[str, ...],
    bars: tuple[Bar, ...],
    rows: Mapping[tuple[str, Bar], Row],
) -> None:
    """Draw a group of bars for each model, a value on each."""
    width = 0.86 / len(bars)
    top = max(max(row.total_ms) for row in rows.values())
    for place, model in enumerate(models):
        if not any((model, bar) in rows for bar in bars):
            axes.text(place, top * 0.012, "not measured", **_TEXT, color=SOFT)
            continue
        for i, bar in enumerate(bars):
            x = place + (i - (len(bars) - 1) / 2) * width
            if (model, bar) in rows:
                _draw_bar(axes, x, rows[model, bar], bar, width=width, top=top)
            else:
                axes.text(x, top * 0.012, "not measured", **_TEXT, rotation=90, color=SOFT)
    axes.set_ylabel("Total time at the client (ms)")
    axes.yaxis.set_label_coords(-0.6 / _WIDTH, 0.5)
    axes.set_xticks(range(len(models)), [TITLES[model] for model in models], fontsize=8.5)
    axes.tick_params(axis="x", length=0, pad=4)
    axes.tick_params(axis="y", labelsize=7.5, width=0.7)
    axes.yaxis.set_major_formatter(lambda ms, _: f"{ms:,.0f}" if top > 10 else f"{ms:g}")
    axes.set_xlim(-0.5, len(models) - 0.5)
    axes.set_ylim(0, top * 1.12)
    axes.grid(axis="y", color="#d9d9d9", linewidth=0.5)


_TEXT: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 6.4}
_EDGE: dict[str, Any] = {"edgecolor": INK, "linewidth": 0.7}
_WHISKERS: dict[str, Any] = {"fmt": "none", "color": "#000000", "elinewidth": 0.8, "capsize": 1.8}


def _draw_bar(axes: Any, x: float, row: Row, bar: Bar, *, width: float, top: float) -> None:
    ms = row.ms or 0.0
    low, high = min(row.total_ms), max(row.total_ms)
    face: dict[str, Any] = {
        "facecolor": bar.fill,
        "edgecolor": INK,
        "linewidth": 0.7,
        "hatch": bar.hatch,
    }
    axes.bar(x, ms, width * 0.92, **face)
    if high > low:
        whiskers: dict[str, Any] = {
            "color": "#000000",
            "elinewidth": 0.8,
            "capsize": 1.8,
            "capthick": 0.8,
        }
        axes.errorbar(x, ms, yerr=[[ms - low], [high - ms]], fmt="none", **whiskers)
    weight = "bold" if bar.is_ours else "normal"
    axes.text(x, high + top * 0.012, ms_text(ms), **_TEXT, color=INK, fontweight=weight)


def _legend(axes: Any, bars: tuple[Bar, ...], title: str) -> None:
    from matplotlib.patches import Patch

    keys = [Patch(facecolor=bar.fill, hatch=bar.hatch, label=bar.name, **_EDGE) for bar in bars]
    axes.legend(
        handles=keys,
        title=title,
        title_fontproperties={"size": 7.2, "weight": "bold"},
        loc="lower center",
        bbox_to_anchor=(0.46, 1.01),
        ncols=len(bars),
        fontsize=6.8,
        frameon=False,
        handlelength=1.5,
        handleheight=1.1,
        handletextpad=0.5,
        columnspacing=1.1,
    )
