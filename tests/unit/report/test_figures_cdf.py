"""The distribution of memory: its values, its files, and a panel for each model."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferonnx.report import Held, cumulative, draw_cdf

pytest.importorskip("matplotlib", reason="pip install '.[paper]'")

MIB = 2**20
MODELS = [
    Held(f"made-up-{i}", (i + 1) * 50 * MIB, (10 * MIB, (i + 1) * 20 * MIB), (MIB, 2 * MIB, 10))
    for i in range(5)
]


def test_each_value_has_the_part_that_is_at_most_as_large():
    assert cumulative([30, 10, 20, 10]) == [(10, 0.25), (10, 0.5), (20, 0.75), (30, 1.0)]
    assert cumulative([]) == []


@pytest.mark.parametrize("n_models", [1, 4, 5])
def test_any_number_of_models_has_panels(tmp_path, n_models):
    paths = draw_cdf(MODELS[:n_models], 85 * MIB, str(tmp_path))
    assert [Path(path).name for path in paths] == ["figure3_cdf.pdf", "figure3_cdf.png"]
    assert all(Path(path).stat().st_size > 1000 for path in paths)


def test_the_same_values_give_the_same_bytes(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        draw_cdf(MODELS, 85 * MIB, str(folder))
    for name in ("figure3_cdf.pdf", "figure3_cdf.png"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
