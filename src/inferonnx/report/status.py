"""The status page of a server: one HTML file without a figure in it.

Its program asks the server for the figures, with the token of whoever looks at it,
and sets what it gets as text, never as markup. The policy that goes with it lets the
browser run nothing but that program, and reach nothing but that server.
"""

from __future__ import annotations

from typing import NamedTuple

from inferonnx.report.joining import joined_page

_STYLES = ("base.css", "status.css")
_PROGRAMS = (
    "numbers.js",
    "elements.js",
    "theme.js",
    "figures.js",
    "chart.js",
    "charts.js",
    "memory.js",
    "models.js",
    "status.js",
)
"""In the order in which they build on each other."""


class StatusPage(NamedTuple):
    """The page, and what a browser may do with it.

    Attributes:
        content: HTML, in UTF-8.
        policy: Value of the header Content-Security-Policy.
    """

    content: bytes
    policy: str


def status_page() -> StatusPage:
    """Return the page; it is always the same."""
    title = "InferONNX server"
    text, inline = joined_page(
        "status.html", title=title, styles=_STYLES, programs=_PROGRAMS, slots={}, says_policy=False
    )
    policy = (
        f"{inline}; connect-src 'self'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return StatusPage(content=text.encode(), policy=policy)
