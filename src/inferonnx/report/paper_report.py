"""Everything that is drawn of the paper's results, from their JSON alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from inferonnx.report.figures import draw_figures
from inferonnx.report.results import checked_peers, checked_results

if TYPE_CHECKING:
    from collections.abc import Mapping


def draw_paper(
    results: Mapping[str, Any],
    folder: str | os.PathLike[str],
    *,
    peers: Mapping[str, Any] | None = None,
) -> list[str]:
    """Draw figures 4 and 5 into a folder that is there; return the files.

    Args:
        results: An object of schema `inferonnx.paper/1` (report/results.py describes it).
        folder: Files of the same names are replaced.
        peers: An object of schema `inferonnx.peers/1`.

    Raises:
        UsageError: An object does not follow its schema.
        UnavailableError: There is no matplotlib, or the folder can't be written.
    """
    checked = checked_results(results)
    if peers is not None:
        checked_peers(peers)
    return draw_figures(checked, os.fspath(folder))
