"""What a benchmark runs: the zoo's models, sealed, with inputs that vary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import inferonnx
from inferonnx.app.host.keys import Key
from inferonnx.app.owner.samples import load_arrays
from inferonnx.app.owner.sealing import seal
from inferonnx.errors import InferonnxError
from inferonnx.zoo import build, zoo_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

N_SAMPLES = 3
SEALED_FOR = "72MiB"
"""All budgets are run from one file a suite, sealed for the smallest that is measured."""

Case = tuple[str, Path, dict[str, Path], list[Path]]


def bench_cases(
    names: Sequence[str],
    *,
    models: Path,
    work: Path,
    suites: Sequence[str],
    progress: Callable[[str], None],
) -> tuple[Path, list[Case], dict[str, InferonnxError]]:
    """Build, seal and vary; what is there from an earlier run is used again.

    Args:
        names: Models of the zoo.
        models: Folder of the zoo's models.
        work: Folder for key, sealed files and samples.
        suites: AEAD suites to seal with.
        progress: Told what happens.

    Returns:
        The key file; for each model: name, ONNX file, sealed files, samples; by name,
        what kept a model from being sealed.

    Raises:
        UsageError: The zoo has no model of such a name; nothing was done.
    """
    for name in names:
        zoo_model(name)
    work.mkdir(parents=True, exist_ok=True)
    key_path = work / "bench.key"
    if not key_path.exists():
        Key.generate().save(key_path)
    key = Key.load(key_path)
    cases = []
    failed: dict[str, InferonnxError] = {}
    for name in names:
        progress(f"{name}: building")
        build(name, str(models))
        try:
            cases.append(
                _case(models / name, work / name, suites=suites, key=key, progress=progress)
            )
        except InferonnxError as error:  # the others are measured all the same
            failed[name] = error
    return key_path, cases, failed


def _case(
    model: Path, work: Path, *, suites: Sequence[str], key: Key, progress: Callable[[str], None]
) -> Case:
    name = model.name
    onnx_path = model / f"{name}.onnx"
    samples = _samples(onnx_path, model / "test_data_set_0", work)
    sealed = {}
    for suite in suites:
        sealed[suite] = work / f"{suite}.sealed"
        if not _is_current(sealed[suite], onnx_path):
            progress(f"{name}: sealing with {suite}")
            seal(
                onnx_path,
                sealed[suite],
                key=key,
                memory=SEALED_FOR,
                suite=suite,
                sample=load_arrays(onnx_path, str(samples[0]))[0],
                name=name,
                progress=lambda text: progress(f"{name}: {text}"),
            )
    return name, onnx_path, sealed, samples


def _samples(onnx_path: Path, first: Path, folder: Path) -> list[Path]:
    """Write the model's input and permutations of it: other values, the same distribution."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = load_arrays(onnx_path, str(first))[0]
    paths = []
    for i in range(N_SAMPLES):
        generator = np.random.default_rng(i)
        varied = {
            name: value if not i else generator.permutation(value.ravel()).reshape(value.shape)
            for name, value in arrays.items()
        }
        paths.append(folder / f"sample_{i}.npz")
        np.savez(paths[-1], **varied)  # type: ignore[arg-type]  # names of its own keyword arguments
    return paths


def _is_current(sealed: Path, onnx_path: Path) -> bool:
    """Tell whether a sealed file is newer than its model and than every line of this package."""
    package = Path(inferonnx.__file__).parent
    newest = max(path.stat().st_mtime for path in (onnx_path, *package.rglob("*.py")))
    return sealed.exists() and sealed.stat().st_mtime > newest
