"""The paper's walk over the eight models, its counts beside the artifact's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inferonnx.app.owner.partitioning import PAPER_LIMIT_BYTES
from inferonnx.paper.artifact import EIGHT, NEW_PARTITIONS, OVERHEAD_FOLDER, PUBLISHED_PARTITIONS
from inferonnx.paper.models import DEFAULT_FOLDER, ensure_models
from inferonnx.paper.partitions import (
    Compared,
    compare_with_model,
    make_partitions,
    memory_intensive,
    model_operators,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Progress = Callable[[str], None]


class Generated(NamedTuple):
    """One model's new partitions.

    Attributes:
        name: The model's.
        folder: Where they are.
        is_new: Whether they were written now.
        n_operators: Of the original graph.
        n_alone: Operators that stand alone for being memory-intensive.
        peaks_bytes: Own peaks of all operators, added up.
        limit_bytes: What those of one partition may add up to.
        published: How many partitions the artifact ships; None for another model.
        compared: The model beside the chain.
    """

    name: str
    folder: str
    is_new: bool
    n_operators: int
    n_alone: int
    peaks_bytes: int
    limit_bytes: int
    published: int | None
    compared: Compared


def generate_partitions(
    names: Sequence[str] = EIGHT,
    *,
    limit_bytes: int = PAPER_LIMIT_BYTES,
    zoo: str = DEFAULT_FOLDER,
    overheads: str = OVERHEAD_FOLDER,
    say: Progress = lambda _: None,
    progress: Progress = lambda _: None,
) -> Iterator[Generated]:
    """Partition models into `new_partitions`, and compare each chain with its model.

    Args:
        names: Models of the zoo; missing ones are built.
        limit_bytes: What own peaks of a partition's operators add up to.
        zoo: Folder of the models.
        overheads: Folder of the list of operators that stand alone.
        say: Told what is made because it was missing.
        progress: Told what is being done.

    Raises:
        UsageError: A file in the way; a stale list of operators.
        ModelError: The model can't be read or run.
    """
    for name in names:
        path = ensure_models(zoo, [name], progress=say)[name]

        def told(text: str, name: str = name) -> None:
            progress(f"{name}: {text}")

        done = make_partitions(
            name,
            path,
            NEW_PARTITIONS,
            limit_bytes=limit_bytes,
            overheads=overheads,
            progress=told,
        )
        operators = model_operators(path, progress=told)
        yield Generated(
            name=name,
            folder=done.chain.folder,
            is_new=done.is_new,
            n_operators=len(operators),
            n_alone=len(memory_intensive(name, path, overheads=overheads, progress=told)),
            peaks_bytes=sum(operator.peak_bytes for operator in operators),
            limit_bytes=limit_bytes,
            published=PUBLISHED_PARTITIONS.get(name),
            compared=compare_with_model(name, path, NEW_PARTITIONS, progress=told),
        )
