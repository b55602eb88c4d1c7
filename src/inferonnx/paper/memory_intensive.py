"""Which operators suffer most from the memory limit: timed outside and inside.

Without SGX, "inside" is the whole chain of operators in one process under the limit, so
that paging is charged to the operator that faults. "Outside" is the same process without
the limit. What stands in `<model>_operator_times.txt` for this model and limit is not
measured again.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.app.owner.partitioning import partition
from inferonnx.app.owner.samples import load_arrays
from inferonnx.bench.operators import RUNS, Spent, time_operators
from inferonnx.epc import unlimited
from inferonnx.model.chain import choose_sample, file_sha256, read_original
from inferonnx.paper.artifact import EIGHT, OPERATORS, OVERHEAD_FOLDER
from inferonnx.paper.models import DEFAULT_FOLDER, ensure_models
from inferonnx.paper.overheads import (
    OperatorTime,
    OperatorTimes,
    check_fresh,
    encode_operator_overheads,
    encode_operator_times,
    heaviest,
    operator_names,
    overheads_path,
    parse_operator_overheads,
    parse_operator_times,
    times_path,
)
from inferonnx.runtime.files import read_file, translate
from inferonnx.runtime.whole_files import scratch_folder, whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from inferonnx.epc import Limit
    from inferonnx.model.chain import Original

    Progress = Callable[[str], None]


NOTHING = Spent(0.0, 0.0)
"""Of an operator that can't be parted from the one before it."""


class Determined(NamedTuple):
    """What came of one model.

    Attributes:
        name: The model's.
        path: Of the operator times.
        times: What they are.
        heaviest: Overhead of the operators above the limit of 12, highest first.
        is_new: Whether they were measured now; False where they were there.
    """

    name: str
    path: str
    times: OperatorTimes
    heaviest: Mapping[str, float]
    is_new: bool


def check_stored(
    names: Sequence[str] = EIGHT, *, zoo: str = DEFAULT_FOLDER, overheads: str = OVERHEAD_FOLDER
) -> dict[str, OperatorTimes]:
    """Return the operator times that are stored, by model; refuse those of other models.

    Models that are not built yet have none that could be judged.

    Raises:
        UsageError: A file is of another model, or is none.
        PlanError: The list of heavy operators is not in its form.
    """
    listed_overheads(overheads)
    found = {}
    for name in names:
        path, model = times_path(name, overheads), os.path.join(zoo, name, f"{name}.onnx")
        if not os.path.lexists(path) or not os.path.exists(model):
            continue
        times = parse_operator_times(read_file(path).decode("utf-8", "replace"))
        # The number of operators follows from the bytes; a file that someone cut short does not.
        n_operators = len(times.operators)
        if times.model_sha256 == file_sha256(model):
            n_operators = len(read_original(model).operators)
        check_fresh(times, path=path, model_sha256=file_sha256(model), n_operators=n_operators)
        found[name] = times
    return found


def determine(
    names: Sequence[str] = EIGHT,
    *,
    limit: Limit,
    limit_bytes: int | None,
    runs: int = RUNS,
    zoo: str = DEFAULT_FOLDER,
    overheads: str = OVERHEAD_FOLDER,
    say: Progress = lambda _: None,
    progress: Progress = lambda _: None,
) -> Iterator[Determined]:
    """Time the operators of models outside and inside the limit, a result each as it is done.

    Args:
        names: Models of the zoo; missing ones are built.
        limit: Where "inside" is; one that enforces nothing where none can be had.
        limit_bytes: The limit that was asked for: times measured within it stay.
        runs: Of each, after one that does not count; medians are kept.
        zoo: Folder of the models.
        overheads: Folder of the operator times and the list.
        say: Told what is made because it was missing.
        progress: Told what is being done.

    Raises:
        UsageError: Stored times of another model; a file in the way.
        ModelError: onnxruntime refuses an operator by itself.
        UnavailableError: The process under the limit is killed again and again.
    """
    check_stored(names, zoo=zoo, overheads=overheads)
    for name in names:
        path = ensure_models(zoo, [name], progress=say)[name]
        times = check_stored([name], zoo=zoo, overheads=overheads).get(name)
        is_new = times is None or not _is_done(times, limit_bytes)
        if times is None or is_new:
            times = _timed(name, path, limit, runs=runs, progress=progress)
            _store(times_path(name, overheads), encode_operator_times(times))
        found = heaviest(times)
        _store(
            overheads_path(overheads),
            encode_operator_overheads(dict(listed_overheads(overheads)) | {name: found}),
        )
        yield Determined(name, times_path(name, overheads), times, found, is_new)


def listed_overheads(folder: str = OVERHEAD_FOLDER) -> Mapping[str, Mapping[str, float]]:
    """Return the list of heavy operators as it stands, empty where there is none.

    Raises:
        PlanError: It is not in its form.
    """
    path = overheads_path(folder)
    if not os.path.lexists(path):
        return {}
    return parse_operator_overheads(read_file(path).decode("utf-8", "replace"))


def _is_done(times: OperatorTimes, limit_bytes: int | None) -> bool:
    return times.limit_bytes == limit_bytes and all(
        one.overhead is not None for one in times.operators
    )


def _timed(name: str, path: str, limit: Limit, *, runs: int, progress: Progress) -> OperatorTimes:
    def told(text: str) -> None:
        progress(f"{name}: {text}")

    folder = os.path.join(os.path.dirname(path), OPERATORS)
    chain = partition(path, folder, strategy="operators", progress=told).chain
    original = read_original(path)
    with scratch_folder() as scratch:
        sample = os.path.join(scratch, "sample.npz")
        _save_sample(original, sample)
        outside = time_operators(
            chain, sample, unlimited(), runs=runs, progress=lambda text: told(f"outside, {text}")
        )
        inside = time_operators(
            chain, sample, limit, runs=runs, progress=lambda text: told(f"inside, {text}")
        )
    nodes = original.operators
    names = operator_names([node.name for node in nodes])
    return OperatorTimes(
        model_sha256=original.sha256,
        limit_bytes=limit.limit_bytes,
        operators=tuple(
            OperatorTime(
                index=i,
                name=names[i],
                type=node.op_type,
                outside_ms=outside.get(i, NOTHING).ms,
                inside_ms=inside.get(i, NOTHING).ms,
                label=limit.label.value,
            )
            for i, node in enumerate(nodes)
        ),
    )


def _save_sample(original: Original, path: str) -> None:
    import numpy as np

    folder = os.path.join(os.path.dirname(original.path), "test_data_set_0")
    known = load_arrays(original.path, folder)[0] if os.path.isdir(folder) else None
    np.savez(path, **choose_sample(original, dims=None, sample=known))


def _store(path: str, text: str) -> None:
    folder = os.path.dirname(path) or "."
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise translate(error, folder, "making the folder") from error
    with whole_file(path) as file:
        file.write(text.encode())
