"""Figures as files: which there are, what stands in them, and that they are always the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from inferonnx.errors import UnavailableError, UsageError
from inferonnx.report import draw_paper
from inferonnx.report.figures import Canvas, draw_figures, figure
from inferonnx.report.paper_form import FIGURES, SMALL_MODELS, caption, tee_text
from inferonnx.report.paper_tables import ms_text
from inferonnx.report.results import checked_results
from paper_samples import paper_results

pytest.importorskip("matplotlib", reason="pip install '.[paper]'")

REFERENCE = Path(__file__).parents[3] / "results" / "reference"
STEMS = [f"figure{number}_{panel}_models" for number in (4, 5) for panel in ("small", "large")]
NAMES = [f"{stem}.{kind}" for stem in STEMS for kind in ("pdf", "png")]


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """Return a function that gives all texts of one drawn panel."""
    import matplotlib.text

    seen = {}
    save = Canvas.save

    def watched(canvas, folder, name):
        seen[name] = [text.get_text() for text in canvas.whole.findobj(matplotlib.text.Text)]
        return save(canvas, folder, name)

    def drawn(results, name):
        monkeypatch.setattr(Canvas, "save", watched)
        draw_figures(checked_results(results), str(tmp_path))
        return seen[name]

    return drawn


def test_both_figures_come_in_two_panels_as_pdf_and_png(tmp_path):
    paths = draw_figures(checked_results(paper_results()), str(tmp_path))
    assert sorted(Path(path).name for path in paths) == sorted(NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    for path in map(Path, paths):
        assert path.read_bytes().startswith(b"%PDF-" if path.suffix == ".pdf" else b"\x89PNG")


def test_values_labels_and_caption_stand_in_a_figure(texts):
    found = texts(paper_results(), "figure4_small_models")
    # SqueezeNet's base is 10 ms: 6, 4, 2, 2.5 and 1.5 times that.
    assert {"60.0", "40.0", "20.0", "25.0", "15.0"} <= set(found)
    assert "SqueezeNet 1.0" in found
    assert "In place of a TEE: EPC limit enforced by cgroup, 85 MiB" in found
    assert {bar.name for bar in FIGURES[4]} <= set(found)
    whole = " ".join(" ".join(found).split())
    assert "once without TLS, as the artifact describes it, and once with TLS" in whole
    assert "SGX" not in whole


def test_nothing_leaves_the_page(tmp_path, monkeypatch):
    """With the captions of real results, which are the longest."""
    import matplotlib.text

    beyond = []

    def looked_at(canvas, _folder, name):
        canvas.whole.canvas.draw()
        page = canvas.whole.bbox
        for text in canvas.whole.findobj(matplotlib.text.Text):
            box = text.get_window_extent()
            if text.get_text() and not (page.x0 <= box.x0 and box.x1 <= page.x1):
                beyond.append((name, text.get_text()))
        return [name]

    monkeypatch.setattr(Canvas, "save", looked_at)
    reference = json.loads((REFERENCE / "paper.json").read_text())
    assert draw_figures(checked_results(reference), str(tmp_path)) == STEMS
    assert beyond == []


def test_sgx_is_said_where_it_is_the_label_and_nowhere_else():
    sgx = checked_results(paper_results(label="SGX"))
    assert tee_text(sgx) == "TEE: SGX, 85 MiB"
    assert "SGX" in caption(sgx, 5, "large")
    free = checked_results(paper_results(label="no limit enforced", limit_bytes=None))
    assert tee_text(free) == "In place of a TEE: no limit enforced"
    for number in FIGURES:
        assert "SGX" not in caption(free, number, "small")


def test_a_caption_counts_the_runs_that_there_are():
    data = paper_results()
    assert "median of 3 runs" in caption(checked_results(data), 4, "small")
    data["rows"][0]["total_ms"] = [60.0] * 15  # SqueezeNet, entire, on disk
    results = checked_results(data)
    assert "median of 3 to 15 runs" in caption(results, 4, "small")
    assert "median of 3 runs" in caption(results, 4, "large")
    assert "median of 3 to 15 runs" in caption(results, 4)


def test_what_was_not_measured_is_said_and_not_drawn_as_zero(texts):
    data = paper_results()
    for row in data["rows"]:
        if (row["model"], row["configuration"]) == ("densenet-7", "entire-memory-tee"):
            row |= {"total_ms": [], "error": "killed"}
    found = texts(data, "figure4_small_models")
    assert found.count("not measured") == 1
    assert "0.00" not in found


def test_a_model_of_which_nothing_was_measured_is_told_once(texts):
    rows = [row for row in paper_results()["rows"] if row["model"] != "densenet-7"]
    found = texts(paper_results(rows=rows), "figure4_small_models")
    assert found.count("not measured") == 1
    assert "DenseNet-121" in found


def test_a_panel_without_anything_is_left_out(tmp_path):
    rows = [row for row in paper_results()["rows"] if row["model"] in SMALL_MODELS]
    paths = draw_figures(checked_results(paper_results(rows=rows)), str(tmp_path))
    assert {Path(path).stem for path in paths} == {"figure4_small_models", "figure5_small_models"}
    assert draw_figures(checked_results(paper_results(rows=[])), str(tmp_path)) == []


def test_bars_of_a_figure_differ_without_colours():
    for bars in FIGURES.values():
        assert len({bar.configuration for bar in bars}) == len(bars)
        looks = [(lightness(bar.fill), bar.hatch) for bar in bars]
        for i, (light, hatch) in enumerate(looks):
            for other, other_hatch in looks[:i]:
                assert hatch != other_hatch or abs(light - other) > 0.2


def lightness(colour):
    """Return how light a colour is in print without colours, from 0 to 1."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_the_same_results_give_the_same_bytes_in_another_process_with_other_settings(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    (second / "matplotlibrc").write_text("font.size: 20\nsavefig.dpi: 30\nlines.linewidth: 9\n")
    draw_paper(paper_results(), first)
    code = (
        "import sys; from inferonnx.report import draw_paper\n"
        "from paper_samples import paper_results\n"
        "draw_paper(paper_results(), '.')"
    )
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path), "PATH": "/usr/bin"}
    environment |= {"HOME": str(tmp_path), "SOURCE_DATE_EPOCH": "1234567890"}
    subprocess.run([sys.executable, "-c", code], cwd=second, env=environment, check=True)
    for name in NAMES:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_no_date_and_no_user_stand_in_a_pdf(tmp_path):
    draw_paper(paper_results(), tmp_path)
    data = (tmp_path / "figure4_small_models.pdf").read_bytes()
    for word in (b"CreationDate", b"ModDate", b"/Author"):
        assert word not in data


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UnavailableError, match="matplotlib") as caught, figure(1, 1, ""):
        pass
    assert "inferonnx[paper]" in caught.value.hint


def test_wrong_results_draw_nothing(tmp_path):
    with pytest.raises(UsageError):
        draw_paper({}, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0.0, "0.00"),
        (1.234, "1.23"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.96, "100"),
        (12345, "12,345"),
    ],
)
def test_values_have_three_digits_that_count(ms, text):
    assert ms_text(ms) == text
