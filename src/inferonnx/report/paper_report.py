"""Everything that is drawn of the paper's results, from their JSON alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from inferonnx.report.figures import draw_figures
from inferonnx.report.paper_page import paper_page
from inferonnx.report.results import checked_peers, checked_results
from inferonnx.runtime.whole_files import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = "report.html"
"""The report's name in the folder of the figures."""


def draw_paper(
    results: Mapping[str, Any],
    folder: str | os.PathLike[str],
    *,
    peers: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write figures 4 and 5 and the report into a folder that is there; return the files.

    The report comes first, since it needs no matplotlib.

    Args:
        results: An object of schema `inferonnx.paper/1` (report/results.py describes it).
        folder: Files of the same names are replaced.
        peers: An object of schema `inferonnx.peers/1`.

    Raises:
        UsageError: An object does not follow its schema.
        UnavailableError: There is no matplotlib, or the folder can't be written.
    """
    checked = checked_results(results)
    others = None if peers is None else checked_peers(peers)
    page = os.path.join(folder, PAGE)
    with whole_file(page) as file:
        file.write(paper_page(checked, others).encode())
    return [*draw_figures(checked, os.fspath(folder)), page]
