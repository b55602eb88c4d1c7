"""The house rules that a machine can hold: floors, linters, links, and what never stands here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from inferonnx.errors import ExitCode, InferonnxError

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def tool(*arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_imports_go_down():
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")], ids=["lint", "format"])
def test_style(arguments):
    done = tool("ruff", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_types():
    done = tool("mypy")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    text = path.read_text()
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if not target.startswith(("http:", "https:")):
            assert (path.parent / target).exists(), target


def test_the_table_of_rooms_names_every_folder():
    table = (ROOT / "docs" / "architecture.md").read_text().split("| floor |")[1].split("\n\n")[0]
    rooms = {name for row in table.splitlines() for name in re.findall("`([^`]+)`", cell(row))}
    packages = (ROOT / "src" / "inferonnx").rglob("*/__init__.py")
    folders = {".".join(path.parent.relative_to(ROOT / "src/inferonnx").parts) for path in packages}
    assert rooms == folders | {"errors"}


def cell(row):
    """Return the second cell of a table's row."""
    return row.split("|")[2]


def test_every_exit_code_is_documented_and_used():
    codes = {cls.exit_code for cls in every_error(InferonnxError)}
    by_hand = {ExitCode.DONE, ExitCode.BUG, ExitCode.INTERRUPTED}
    assert codes | by_hand == set(ExitCode)


def test_error_codes_are_unique_words():
    names = [cls.code for cls in every_error(InferonnxError)]
    assert len(names) == len(set(names))


def every_error(cls):
    yield cls
    for sub in cls.__subclasses__():
        yield from every_error(sub)


def test_importing_the_package_loads_next_to_nothing():
    code = (
        "import sys, inferonnx\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'cryptography', 'ctypes', 'dataclasses'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_of_files_are_plain():
    """A file under a garbled name is what a library wrote through a pointer gone stale."""
    found = [
        path.name for path in ROOT.iterdir() if not re.fullmatch(r"[\w.-]+", path.name, re.ASCII)
    ]
    assert not found


def test_what_a_partition_costs_is_told_of_the_time_that_was_measured():
    row = re.search(r"\| resnet152-v2-7 \| ([0-9.]+),", (ROOT / "README.md").read_text())
    told = re.search(
        r"ResNet-152 half a millisecond of (\d+)", (ROOT / "docs/memory.md").read_text()
    )
    assert int(told[1]) == round(float(row[1]))
