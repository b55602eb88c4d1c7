"""What measurements run: each model sealed in three forms, in the clear, and its requests.

Everything lies in a folder of its own, `results/work`, and is made again when what it is
made of has changed; a file appears whole or not at all, so an interrupt leaves nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx

from inferonnx import __version__
from inferonnx.app.host.keys import Key
from inferonnx.app.owner.partitioning import partition
from inferonnx.app.owner.samples import load_arrays
from inferonnx.app.owner.sealing import seal
from inferonnx.bench.served import encoded
from inferonnx.errors import EngineError, UsageError
from inferonnx.model.chain import INDEX
from inferonnx.paper.configurations import Form
from inferonnx.runtime.whole_files import whole_file
from inferonnx.sealed import HEADER_BYTES
from inferonnx.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from inferonnx.bench.served import Body

    Progress = Callable[[str], None]

UNSEALED = Path("scripts") / "benchmarks" / "unsealed"
"""The engine in the clear, from the repository's root: it is no part of the package."""

SAMPLE = "test_data_set_0"
"""Folder of a model's input, beside it."""

STREAM_SEALED_FOR = 64 * MIB
"""Least budget that streams are planned for: a server of 72 MiB leaves this to its model."""

ROOMY = 16 * 1024 * MIB
"""A budget for forms that were never planned for one."""


class Material(NamedTuple):
    """One model's files.

    Attributes:
        name: The model's.
        sealed: Sealed files by form.
        clear: The same in the clear.
        sample: Its input, .npz.
        body: Its input as a request.
        key: The owner's key file.
    """

    name: str
    sealed: Mapping[Form, Path]
    clear: Mapping[Form, Path]
    sample: Path
    body: Body
    key: Path

    def stamp(self, form: Form) -> str:
        """Return what changes with the sealed file or the input."""
        with self.sealed[form].open("rb") as file:
            header = file.read(HEADER_BYTES)
        return hashlib.sha256(header + self.sample.read_bytes()).hexdigest()


def make_material(
    name: str,
    model: Path,
    partitions: Path,
    work: Path,
    *,
    forms: Collection[Form] = tuple(Form),
    progress: Progress = lambda _: None,
) -> Material:
    """Make what is missing or no longer current.

    Args:
        name: The model's.
        model: Its ONNX file, with `test_data_set_0` beside it.
        partitions: Folder of its partitions.
        work: Folder for what is made.
        forms: Those that are wanted.
        progress: Told what happens.

    Raises:
        InferonnxError: The model, its sample or its partitions are not what they should be.
    """
    home = work / name
    home.mkdir(parents=True, exist_ok=True)
    key, sample = _key(work), home / "sample.npz"
    arrays = load_arrays(model, str(model.parent / SAMPLE))[0]
    with whole_file(str(sample)) as file:
        np.savez(file, **arrays)
    maker = _Maker(_Sources(name, model, partitions, key), home, arrays, progress)
    sealed = {form: maker.sealed(form) for form in forms}
    plain: list[Form] = [form for form in forms if form is not Form.PARTITIONS]
    clear = {form: maker.clear(form) for form in plain}
    graph = onnx.load(model, load_external_data=False).graph
    body = encoded(name, arrays, [value.name for value in graph.output])
    return Material(name, sealed, clear, sample, body, key)


class _Sources(NamedTuple):
    """What a model's files are made of."""

    name: str
    model: Path
    partitions: Path
    key: Path


class _Maker:
    """Makes one model's files, where they are not current."""

    def __init__(
        self, made_of: _Sources, home: Path, arrays: Mapping[str, Any], progress: Progress
    ) -> None:
        self._from, self._home, self._arrays = made_of, home, arrays
        self._tell = progress
        self._stamp = [_digest(made_of.model), _digest(made_of.key), __version__]

    def _progress(self, text: str) -> None:
        self._tell(f"{self._from.name}: {text}")

    def sealed(self, form: Form) -> Path:
        """Return the model sealed in a form."""
        path = self._home / f"{form.value}.sealed"
        index = self._from.partitions / INDEX if form is Form.PARTITIONS else None
        stamp = [form.value, *self._stamp, _digest(index) if index else ""]
        if not _is_current(path, stamp):
            self._progress(f"sealing, {form.value}")
            seal(
                self._from.model,
                path,
                key=Key.load(self._from.key),
                memory=STREAM_SEALED_FOR if form is Form.STREAM else None,
                partitions=self._chain(form),
                name=self._from.name,
                sample=self._arrays,
                progress=lambda text: self._progress(f"sealing, {form.value}: {text}"),
            )
            _keep_stamp(path, stamp)
        return path

    def _chain(self, form: Form) -> Path | None:
        """Return the folder of the partitions that are sealed as they are; None for a plan."""
        if form is Form.ENTIRE:
            whole = self._home / "whole"
            partition(str(self._from.model), str(whole), strategy="whole", progress=self._progress)
            return whole
        return self._from.partitions if form is Form.PARTITIONS else None

    def clear(self, form: Form) -> Path:
        """Return the same in the clear, for the benchmarks' own opener."""
        sealed, path = self._home / f"{form.value}.sealed", self._home / f"{form.value}.clear"
        stamp = [_stamp_of(sealed)]
        if not _is_current(path, stamp):
            self._progress(f"writing it in the clear, {form.value}")
            run_unsealed("unseal.py", str(sealed), str(path), "--key", str(self._from.key))
            _keep_stamp(path, stamp)
        return path


def unsealed_script(name: str) -> str:
    """Return a script of the engine in the clear.

    Raises:
        UsageError: It is not there: this is not the repository's root.
    """
    path = UNSEALED / name
    if not path.exists():
        raise UsageError(
            f"{str(path)!r} is not here",
            hint="Run this from the root of the repository: the package has no such engine.",
        )
    return str(path)


def run_unsealed(name: str, *arguments: str) -> None:
    """Run one of those scripts to its end."""
    words = [sys.executable, unsealed_script(name), *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise EngineError(f"{name} failed: {said[-1]:.200}")


def _key(work: Path) -> Path:
    path = work / "owner.key"
    if not path.exists():
        Key.generate().save(path)
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.stamp")


def _stamp_of(path: Path) -> str:
    return _stamp_path(path).read_text(encoding="ascii")


def _is_current(path: Path, stamp: list[str]) -> bool:
    kept = _stamp_path(path)
    return path.exists() and kept.exists() and kept.read_text("ascii") == json.dumps(stamp)


def _keep_stamp(path: Path, stamp: list[str]) -> None:
    with whole_file(os.fspath(_stamp_path(path))) as file:
        file.write(json.dumps(stamp).encode())
