"""Pages are joined from the files in `assets/`: a frame, markup with slots, style, programs.

A page's policy (CSP) allows its inline style and its inline program by their hashes,
so that nothing else that might get into it is either. The server makes a page in the
process whose memory is promised: what is imported here, it has anyway.
"""

from __future__ import annotations

import os
import re
from binascii import b2a_base64
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.crypto import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FOLDER = os.path.join(os.path.dirname(__file__), "assets")
_SLOT = re.compile(r"\{\{(\w+)\}\}")


class Page(NamedTuple):
    """A page that needs nothing else, and the policy that allows what stands in it.

    Attributes:
        text: HTML, to be written as UTF-8.
        policy: Directives that allow its two inline blocks, and nothing from afar.
    """

    text: str
    policy: str


def joined_page(
    template: str,
    *,
    title: str,
    styles: Iterable[str],
    programs: Iterable[str],
    slots: Mapping[str, str],
    says_policy: bool = True,
) -> Page:
    """Return the page of a template, in the frame that all pages have.

    Args:
        template: File of what is between the frame's head and the program.
        title: As markup.
        styles: Files, in their order.
        programs: Likewise.
        slots: What the template's slots are filled with, as markup.
        says_policy: Whether the policy stands in the page; else a header has to say it.

    Raises:
        KeyError: The template has a slot that nothing is for.
    """
    style, program = "".join(map(_asset, styles)), "".join(map(_asset, programs))
    policy = (
        f"default-src 'none'; style-src {_source(style)}; script-src {_source(program)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    frame = {
        "policy": meta if says_policy else "",
        "title": title,
        "style": style,
        "body": _filled(template, {**slots, "theme": _asset("theme.html")}),
        "program": program,
    }
    return Page(_filled("frame.html", frame), policy)


def _filled(template: str, slots: Mapping[str, str]) -> str:
    """Return the text of a file with its `{{slots}}` filled.

    One pass: what is filled in is never searched for slots.
    """
    return _SLOT.sub(lambda match: slots[match[1]], _asset(template))


def _source(text: str) -> str:
    return f"'sha256-{b2a_base64(sha256(text.encode()), newline=False).decode()}'"


def _asset(name: str) -> str:
    with open(os.path.join(_FOLDER, name), encoding="utf-8") as file:
        return file.read()
