"""Models as one ONNX file an operator: split, run as a chain, timed, and removed again."""

from __future__ import annotations

import os
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.errors import UsageError
from inferonnx.model.chain import ChainSession, make_folder, read_original, remove_chain
from inferonnx.paper.artifact import EIGHT, OPERATORS, OVERHEAD_FOLDER
from inferonnx.paper.models import DEFAULT_FOLDER, ensure_models
from inferonnx.paper.overheads import (
    OperatorTime,
    OperatorTimes,
    check_fresh,
    encode_operator_times,
    operator_names,
    parse_operator_times,
    times_path,
)
from inferonnx.paper.partitions import (
    Compared,
    compare_with_model,
    make_partitions,
    model_sample,
)
from inferonnx.runtime.files import read_file
from inferonnx.runtime.whole_files import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from inferonnx.model.chain import Chain, Removed

    Progress = Callable[[str], None]

_WARM_RUNS = 1
_TIMED_RUNS = 5


class SplitModel(NamedTuple):
    """One model as operators.

    Attributes:
        name: The model's.
        folder: Where its operators are.
        compared: The model beside the chain of its operators.
        times: The file of operator times.
        is_timed: Whether that was written now; False where it was there.
    """

    name: str
    folder: str
    compared: Compared
    times: str
    is_timed: bool


class Cleaned(NamedTuple):
    """What came of removing one model's operators.

    Attributes:
        name: The model's.
        removed: The files; None where there was no folder.
    """

    name: str
    removed: Removed | None


def split_models(
    names: Sequence[str] = EIGHT,
    *,
    zoo: str = DEFAULT_FOLDER,
    overheads: str = OVERHEAD_FOLDER,
    say: Progress = lambda _: None,
    progress: Progress = lambda _: None,
) -> Iterator[SplitModel]:
    """Split models into one ONNX file an operator, and compare the chain with each.

    Where no operator times of a model are stored, those of the chain are: without a
    limit, medians of warm runs.

    Args:
        names: Models of the zoo; missing ones are built.
        zoo: Folder of the models.
        overheads: Folder of the operator times.
        say: Told what is made because it was missing.
        progress: Told what is being done.

    Raises:
        UsageError: Stored times of another model; a file in the way.
        ModelError: onnxruntime refuses an operator by itself.
    """
    for name in names:
        path = ensure_models(zoo, [name], progress=say)[name]

        def told(text: str, name: str = name) -> None:
            progress(f"{name}: {text}")

        stored = _stored(name, path, overheads)
        chain = make_partitions(name, path, OPERATORS, strategy="operators", progress=told).chain
        compared = compare_with_model(name, path, OPERATORS, progress=told)
        if not stored:
            told("timing operators")
            _store(times_path(name, overheads), _timed(chain, path))
        yield SplitModel(name, chain.folder, compared, times_path(name, overheads), not stored)


def clean_operators(
    names: Sequence[str] = EIGHT, *, zoo: str = DEFAULT_FOLDER
) -> Iterator[Cleaned]:
    """Remove the operators of models: what we made, and nothing else.

    Raises:
        ModelError: An index that is none of ours.
        UnavailableError: The disk refuses.
    """
    for name in names:
        folder = os.path.join(zoo, name, OPERATORS)
        if not os.path.isdir(folder):
            yield Cleaned(name, None)
            continue
        yield Cleaned(name, remove_chain(folder))


def _stored(name: str, path: str, overheads: str) -> bool:
    """Return whether operator times of this very model are stored.

    Raises:
        UsageError: Those of another are.
    """
    times = times_path(name, overheads)
    if not os.path.lexists(times):
        return False
    original = read_original(path)
    check_fresh(
        parse_operator_times(read_file(times).decode("utf-8", "replace")),
        path=times,
        model_sha256=original.sha256,
        n_operators=len(original.operators),
    )
    return True


def _timed(chain: Chain, path: str) -> OperatorTimes:
    """Return the times of a chain of operators; those that can't be parted count for the first."""
    sample = model_sample(path)
    if sample is None:
        raise UsageError(f"there is no test_data_set_0 beside {path!r}", hint="The zoo makes it.")
    original = read_original(path)
    session = ChainSession(chain)
    runs = [session.run(sample).seconds for _ in range(_WARM_RUNS + _TIMED_RUNS)][_WARM_RUNS:]
    seconds = {
        link.start: median(s) for link, s in zip(chain.links, zip(*runs, strict=True), strict=True)
    }
    names = operator_names([node.name for node in original.operators])
    return OperatorTimes(
        model_sha256=original.sha256,
        limit_bytes=None,
        operators=tuple(
            OperatorTime(
                index=index,
                name=names[index],
                type=node.op_type,
                outside_ms=seconds.get(index, 0.0) * 1e3,
            )
            for index, node in enumerate(original.operators)
        ),
    )


def _store(path: str, times: OperatorTimes) -> None:
    make_folder(os.path.dirname(path) or ".")
    with whole_file(path) as file:
        file.write(encode_operator_times(times).encode())
