"""The tables of docs/zoo.md say what the tables in the code say."""

from __future__ import annotations

from pathlib import Path

from inferonnx import zoo

_PAGE = Path(__file__).parents[3] / "docs" / "zoo.md"


def _rows(first_header: str, last_header: str) -> dict[str, list[str]]:
    """Return a table's rows by their first cell; the table is known by its outer headers."""
    rows: dict[str, list[str]] = {}
    inside = False
    for line in _PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if inside and not line.startswith("|"):
            return rows
        if inside and not set(line) <= set("|-"):
            rows[cells[0]] = cells[1:]
        inside = inside or (cells[0], cells[-1]) == (first_header, last_header)
    return rows


def _shown(number: int) -> str:
    return f"{number:,}".replace("-", "−")


def test_published_models() -> None:
    page = _PAGE.read_text()
    for name, model in zoo.MODELS.items():
        difference = model.size_difference
        cells = [name, _shown(model.size_bytes)]
        cells += [] if difference is None else [_shown(difference)]
        cells.append(f"{model.opset} / {model.ir_version}")
        start = "| " + " | ".join(cells) + " | "
        (line,) = (line for line in page.splitlines() if line.startswith(start))
        assert line.endswith(f" | {_shown(model.n_floats)} | {_shown(model.n_nodes)} |")
        if difference is not None:
            (sample,) = model.samples
            assert f" | `{sample.input}` {list(sample.shape)} | " in line


def test_trained_sets() -> None:
    rows = _rows("set", "what it does")
    assert list(rows) == list(zoo.TRAINED)
    for name, item in zoo.TRAINED.items():
        requirement, download, licence, summary = rows[name]
        assert (requirement, licence, summary) == (item.requirement, item.licence, item.summary)
        assert abs(float(download.removesuffix(" MB")) - item.wheel_bytes / 1e6) < 0.51


def test_keys_of_the_listing() -> None:
    from inferonnx.cli.zoo import SCHEMA, _listing

    listing = _listing()
    rows = _rows("key", "value")
    assert list(rows) == [f"`{key}`" for key in listing]
    assert SCHEMA in rows["`schema`"][0]
    for part in ("models", "trained"):
        for entry in listing[part]:
            assert all(f"`{key}`" in rows[f"`{part}`"][0] for key in entry)
