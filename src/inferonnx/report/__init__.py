"""Plans and measurements for people: one self-contained HTML page, and tables as text.

The same input gives the same bytes; nothing is read from the network, then or later.
"""

from __future__ import annotations

from inferonnx.report.page import plan_page
from inferonnx.report.schema import PLAN_SCHEMA
from inferonnx.report.text import format_duration, markdown_table, table

__all__ = ["PLAN_SCHEMA", "format_duration", "markdown_table", "plan_page", "table"]
