"""The eight models of the paper in `models/`, built where they are missing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inferonnx.errors import UsageError
from inferonnx.paper.artifact import EIGHT
from inferonnx.zoo import Outcome, build, zoo_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_FOLDER = "models"


def ensure_models(
    folder: str = DEFAULT_FOLDER,
    names: Sequence[str] = EIGHT,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, str]:
    """Return each model's ONNX file, built from seeds where there was none.

    Args:
        folder: Has a folder for each model: `<folder>/<name>/<name>.onnx`.
        names: Models of the zoo.
        progress: Told what is built, and where a real, trained file would belong.

    Raises:
        UsageError: The zoo has no such model; or a model's folder has files of ONNX, but
            not the one of its name, or more than one.
    """
    for name in names:
        zoo_model(name)
    return {name: _ensure(folder, name, progress) for name in names}


def _ensure(folder: str, name: str, progress: Callable[[str], None]) -> str:
    home = os.path.join(folder, name)
    path = os.path.join(home, f"{name}.onnx")
    files = sorted(f for f in _listed(home) if f.endswith(".onnx"))
    if files and files != [f"{name}.onnx"]:
        raise UsageError(
            f"{home!r} should have one model, {name}.onnx, and has {', '.join(files)}",
            hint="Move the others elsewhere; nothing was changed.",
        )
    if not files:
        progress(
            f"{name}: building it with seeded weights; a trained file belongs at {path} instead"
        )
    done = build(name, folder)
    if done.outcome is Outcome.BUILT:
        progress(f"{name}: built, synthetic weights")
    return path


def _listed(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []
