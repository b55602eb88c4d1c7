"""Plans, servers and measurements for people: self-contained HTML pages, figures, tables.

The same input gives the same bytes; a plan's page reads nothing from the network, then
or later, and a server's asks nobody but that server.

Names are loaded when they are first used: a server that serves its page has no use for
what plans are shown with, and its memory is promised.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferonnx.report.figures import check_drawing
    from inferonnx.report.figures_cdf import Held, cumulative, draw_cdf
    from inferonnx.report.page import plan_page
    from inferonnx.report.paper_form import LARGE_MODELS, SMALL_MODELS, TITLES
    from inferonnx.report.paper_report import draw_paper
    from inferonnx.report.profile import PROFILE_SCHEMA, profile_page
    from inferonnx.report.results import PAPER_SCHEMA, PEERS_SCHEMA
    from inferonnx.report.schema import PLAN_SCHEMA
    from inferonnx.report.status import StatusPage, status_page
    from inferonnx.report.text import format_duration, markdown_table, table

__all__ = [
    "LARGE_MODELS",
    "PAPER_SCHEMA",
    "PEERS_SCHEMA",
    "PLAN_SCHEMA",
    "PROFILE_SCHEMA",
    "SMALL_MODELS",
    "TITLES",
    "Held",
    "StatusPage",
    "check_drawing",
    "cumulative",
    "draw_cdf",
    "draw_paper",
    "format_duration",
    "markdown_table",
    "plan_page",
    "profile_page",
    "status_page",
    "table",
]

_HOMES = {
    "Held": "figures_cdf",
    "check_drawing": "figures",
    "cumulative": "figures_cdf",
    "draw_cdf": "figures_cdf",
    "LARGE_MODELS": "paper_form",
    "PAPER_SCHEMA": "results",
    "PEERS_SCHEMA": "results",
    "PLAN_SCHEMA": "schema",
    "PROFILE_SCHEMA": "profile",
    "SMALL_MODELS": "paper_form",
    "TITLES": "paper_form",
    "StatusPage": "status",
    "draw_paper": "paper_report",
    "format_duration": "text",
    "markdown_table": "text",
    "plan_page": "page",
    "profile_page": "profile",
    "status_page": "status",
    "table": "text",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'inferonnx.report' has no attribute {name!r}")
    value: object = getattr(import_module(f"inferonnx.report.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
