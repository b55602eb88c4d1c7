"""Figures and report from what was measured, without measuring again."""

from __future__ import annotations

import json
import os
from typing import Any

from inferonnx.errors import UsageError
from inferonnx.report import draw_paper
from inferonnx.runtime.files import read_file

RESULTS = "results/paper.json"
"""Where a full run leaves its measurements, from the repository's root."""

PEERS = "peers.json"
"""Other engines' measurements, beside the results."""


def redraw(
    results: str = RESULTS, *, peers: str | None = None, folder: str | None = None
) -> list[str]:
    """Draw figures and report of a file of results; return the files.

    Args:
        results: The results.
        peers: Other engines' results. Default: the file beside `results`, where there is one.
        folder: Where to; made where it is missing. Default: beside `results`.

    Raises:
        UsageError: A file is not there, or is not what it should be.
        UnavailableError: There is no matplotlib, or the folder can't be written.
    """
    home = os.path.dirname(results)
    beside = os.path.join(home, PEERS)
    peers = peers or (beside if os.path.exists(beside) else None)
    measured = _read_json(results)
    others = _read_json(peers) if peers else None
    folder = folder or home or "."
    os.makedirs(folder, exist_ok=True)
    return draw_paper(measured, folder, peers=others)


def _read_json(path: str) -> dict[str, Any]:
    try:
        data = json.loads(read_file(path))
    except ValueError as error:
        raise UsageError(
            f"{path!r} is no JSON", where=path, hint="Measure again with `inferonnx paper run-all`."
        ) from error
    if not isinstance(data, dict):
        raise UsageError(f"{path!r} holds no JSON object", where=path)
    return data
