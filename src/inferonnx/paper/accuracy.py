"""Does a model give the same answers from its partitions? The artifact's `check_accuracy.py`.

The artifact compares one printed line, the category of the largest output. Here whole
outputs are compared too, within the tolerance of `verify`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.errors import DifferenceError
from inferonnx.model.chain import is_unmade
from inferonnx.paper.artifact import EIGHT, PARTITIONS
from inferonnx.paper.models import DEFAULT_FOLDER, ensure_models
from inferonnx.paper.partitions import compare_with_model, folder_name, make_partitions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from inferonnx.paper.partitions import Compared

    Progress = Callable[[str], None]


class Accuracy(NamedTuple):
    """One model's result.

    Attributes:
        name: The model's.
        compared: The model beside its partitions.
    """

    name: str
    compared: Compared


def check_accuracy(
    folder: str = PARTITIONS,
    names: Sequence[str] = EIGHT,
    *,
    zoo: str = DEFAULT_FOLDER,
    say: Progress = lambda _: None,
    progress: Progress = lambda _: None,
) -> Iterator[Accuracy]:
    """Yield, model by model, how far the partitions are from the entire model.

    Args:
        folder: Name of the folder of partitions in each model's folder. "partitions" is
            made where it is missing or was interrupted; another must be there.
        names: Models of the zoo; missing ones are built.
        zoo: Folder of the models.
        say: Told what is made because it was missing.
        progress: Told what is being done.

    Raises:
        UsageError: A folder that is missing, or of another model; two models in one.
        ModelError: A file is missing or damaged.
    """
    folder = folder_name(folder)
    for name in names:
        path = ensure_models(zoo, [name], progress=say)[name]

        def told(text: str, name: str = name) -> None:
            progress(f"{name}: {text}")

        if folder == PARTITIONS and is_unmade(os.path.join(os.path.dirname(path), folder)):
            done = make_partitions(name, path, progress=told)
            say(f"{name}: {len(done.chain.links)} partitions made in {done.chain.folder}")
        yield Accuracy(name, compare_with_model(name, path, folder, progress=told))


def check_all(results: Iterable[Accuracy]) -> None:
    """Refuse results of which one is not tolerated.

    Raises:
        DifferenceError: Names the first model and what differs.
    """
    for name, compared in results:
        if compared.problem:
            raise DifferenceError(
                f"{name}: {compared.problem}",
                hint="Move its partitions away and make them again.",
            )
