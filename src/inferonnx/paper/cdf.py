"""The later artifact's figure 3: how the memory of a model's partitions is distributed."""

from __future__ import annotations

import csv
import io
import os
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.bench.accounting import Need, operator_needs, part_need
from inferonnx.model.chain import is_unmade, load_chain
from inferonnx.paper.artifact import EIGHT
from inferonnx.paper.models import DEFAULT_FOLDER, ensure_models
from inferonnx.paper.partitions import folder_name, make_partitions, model_graph
from inferonnx.report import Held, cumulative, draw_cdf
from inferonnx.runtime.files import translate
from inferonnx.runtime.whole_files import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inferonnx.model.chain import Link

NAME = "figure3_cdf.csv"

_HEADS = ("model", "part", "first", "stop", "weights_bytes", "activation_bytes", "memory_bytes")


class ModelNeeds(NamedTuple):
    """What a model needs by exact accounting.

    Attributes:
        model: Its name.
        entire: All of it at once.
        partitions: Each partition with its link.
        operators: Each operator by itself.
    """

    model: str
    entire: Need
    partitions: tuple[tuple[Link, Need], ...]
    operators: tuple[Need, ...]


def make_cdf(
    partitions: str,
    *,
    limit_bytes: int,
    output: str = "results",
    folder: str = DEFAULT_FOLDER,
    names: Sequence[str] = EIGHT,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[list[ModelNeeds], list[str]]:
    """Count what each model and its partitions need; return that, and the files it wrote.

    Args:
        partitions: Folder within each model's folder; filled where it is missing.
        limit_bytes: The enclave page cache to draw beside.
        output: Folder for table and figure; made where it is missing.
        folder: Of the models.
        names: Which.
        progress: Told what happens; what is measured before an interrupt is kept.

    Raises:
        UsageError: Partitions of another model; a folder of a model with other files.
        ModelError: A file is damaged, or onnxruntime refuses it.
        UnavailableError: There is no matplotlib, or no room.
    """
    partitions = folder_name(partitions)
    paths = ensure_models(folder, names, progress=progress)
    needs = [_needs(name, path, partitions, _about(name, progress)) for name, path in paths.items()]
    try:
        os.makedirs(output, exist_ok=True)
    except OSError as error:
        raise translate(error, output, "making the folder") from error
    table = os.path.join(output, NAME)
    with whole_file(table) as file:
        file.write(_table(needs).encode())
    held = [
        Held(
            one.model,
            one.entire.n_bytes,
            tuple(need.n_bytes for _, need in one.partitions),
            tuple(need.n_bytes for need in one.operators),
        )
        for one in needs
    ]
    return needs, [table, *draw_cdf(held, limit_bytes, output)]


def _about(name: str, progress: Callable[[str], None]) -> Callable[[str], None]:
    return lambda text: progress(f"{name}: {text}")


def _needs(name: str, path: str, partitions: str, progress: Callable[[str], None]) -> ModelNeeds:
    home = os.path.join(os.path.dirname(path), partitions)
    if is_unmade(home):
        make_partitions(name, path, partitions, progress=progress)
    progress("checking the partitions")
    chain = load_chain(home, model_path=path)
    graph = model_graph(path, progress=progress)
    return ModelNeeds(
        model=name,
        entire=part_need(graph, 0, len(graph.nodes)),
        partitions=tuple((link, part_need(graph, link.start, link.stop)) for link in chain.links),
        operators=tuple(operator_needs(graph)),
    )


def _table(needs: Sequence[ModelNeeds]) -> str:
    """Return all of it as CSV: of each model the entire one, then its partitions by size."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow((*_HEADS, "part_of_partitions"))
    for one in needs:
        n_operators = len(one.operators)
        rows.writerow((one.model, "entire", 0, n_operators, *_figures(one.entire), ""))
        ordered = sorted(one.partitions, key=lambda pair: pair[1].n_bytes)
        parts = cumulative([need.n_bytes for _, need in ordered])
        for (link, need), (_, part) in zip(ordered, parts, strict=True):
            place = (one.model, link.file, link.start, link.stop)
            rows.writerow((*place, *_figures(need), f"{part:.4f}"))
    return text.getvalue()


def _figures(need: Need) -> tuple[int, int, int]:
    return need.weights_bytes, need.activation_bytes, need.n_bytes
