"""Tests of the status page as text; tests/e2e/test_status_page.py opens it in a browser."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import inferonnx.report
from inferonnx.report import page, paper_page, profile, status, status_page

ASSETS = Path(inferonnx.report.__file__).parent / "assets"


def test_the_policy_allows_the_two_blocks_of_the_page_and_no_other() -> None:
    page, policy = status_page()
    text = page.decode()
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (block,) = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", text, re.DOTALL)
        digest = b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy.split("; ")
    assert "default-src 'none'" in policy.split("; ")
    assert "connect-src 'self'" in policy.split("; ")
    assert "unsafe" not in policy


def test_the_page_is_whole_and_names_nothing_elsewhere() -> None:
    text = status_page().content.decode()
    assert "{{" not in text
    assert not re.search(r"<(?:img|iframe|object|embed|base)\b|@import|url\(", text)
    assert not re.findall(r"""(?:src|href)=(?!["']data:)""", text)
    # Namespaces of SVG are names, and nobody goes there.
    assert set(re.findall(r"https?://[^'\"\s]+", text)) == {"http://www.w3.org/2000/svg"}


def test_programs_set_text_never_markup() -> None:
    for path in ASSETS.glob("*.js"):
        sinks = (
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|\.srcdoc"
        )
        assert not re.search(sinks, path.read_text()), path.name


def test_every_file_is_part_of_a_page() -> None:
    used = {"frame.html", "theme.html", "plan.html", "paper.html", "profile.html", "status.html"}
    for module in (page, paper_page, profile, status):
        used |= {*module._PROGRAMS, *module._STYLES}
    assert {path.name for path in ASSETS.iterdir()} == used


def test_making_the_page_loads_next_to_nothing_into_a_server() -> None:
    code = (
        "import sys, inferonnx.app.host.serve, json\n"
        "from inferonnx.crypto import sha256\n"
        "sha256(b'')\n"
        "before = set(sys.modules)\n"
        "from inferonnx.report.status import status_page\n"
        "status_page()\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    new = {"inferonnx.report", "inferonnx.report.joining", "inferonnx.report.status"}
    assert set(done.stdout.split()) <= new
