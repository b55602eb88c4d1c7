"""Plans, servers and measurements for people: self-contained HTML pages, and tables as text.

The same input gives the same bytes; a plan's page reads nothing from the network, then
or later, and a server's asks nobody but that server.

Names are loaded when they are first used: a server that serves its page has no use for
what plans are shown with, and its memory is promised.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferonnx.report.page import plan_page
    from inferonnx.report.schema import PLAN_SCHEMA
    from inferonnx.report.status import StatusPage, status_page
    from inferonnx.report.text import format_duration, markdown_table, table

__all__ = [
    "PLAN_SCHEMA",
    "StatusPage",
    "format_duration",
    "markdown_table",
    "plan_page",
    "status_page",
    "table",
]

_HOMES = {
    "PLAN_SCHEMA": "schema",
    "StatusPage": "status",
    "format_duration": "text",
    "markdown_table": "text",
    "plan_page": "page",
    "status_page": "status",
    "table": "text",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'inferonnx.report' has no attribute {name!r}")
    value: object = getattr(import_module(f"inferonnx.report.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
