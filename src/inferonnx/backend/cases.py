"""The cases of the standard's conformance suite, as they are and with constants in place of inputs.

The suite comes with the `onnx` package: models of one operator with inputs and
answers, whole small models, and light versions of published networks. Its node
models hold no weights. So each is also run with every input but the first turned
into an initializer, which then is a weight that can be streamed.
"""

from __future__ import annotations

import glob
import os
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onnx import ModelProto, TypeProto

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")
VARIANTS = ("as it is", "constants")

# Before this version of the format, every initializer had to be an input as well.
_FREE_INITIALIZERS_IR = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model with inputs and the answers that the standard wants.

    Attributes:
        name: As the suite has it.
        kind: One of `KINDS`.
        variant: One of `VARIANTS`.
        model: ONNX bytes.
        data_sets: Inputs and outputs, each in the model's order: arrays, lists for
            sequences, None for an absent optional value.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
    """

    name: str
    kind: str
    variant: str
    model: bytes
    data_sets: tuple[tuple[list[Any], list[Any]], ...]
    rtol: float
    atol: float


def load_cases(kinds: Sequence[str] = KINDS, *, every: int = 1) -> list[Case]:
    """Return cases of these kinds in the suite's order, each followed by its variant.

    Args:
        kinds: Of `KINDS`.
        every: Keep the first of so many.
    """
    from onnx.backend.test.loader import load_model_tests

    # Most cases draw their inputs when they are loaded: the same ones each time.
    np.random.seed(0)
    cases = []
    for kind in kinds:
        with warnings.catch_warnings():
            # The suite makes infinities and NaNs on purpose, and numpy warns.
            warnings.simplefilter("ignore", RuntimeWarning)
            tests = load_model_tests(kind=kind)
        if kind != "node":
            tests.sort(key=lambda test: test.name)  # as the file system lists them
        for test in tests[::every]:
            case = _case(test, kind)
            cases.append(case)
            variant = with_constants(case)
            if variant is not None:
                cases.append(variant)
    return cases


def with_constants(case: Case) -> Case | None:
    """Return the case with all inputs but the first as initializers.

    Sequences and optional values have no initializers and stay inputs; None when
    nothing else is left to turn.
    """
    model = onnx.ModelProto.FromString(case.model)
    names = _input_names(model)
    inputs, outputs = case.data_sets[0]
    turned = [i for i in range(1, len(inputs)) if isinstance(inputs[i], np.ndarray)]
    if not turned:
        return None
    for i in turned:
        model.graph.initializer.append(numpy_helper.from_array(inputs[i], names[i]))
    if model.ir_version >= _FREE_INITIALIZERS_IR:
        gone = {names[i] for i in turned}
        kept = [value for value in model.graph.input if value.name not in gone]
        del model.graph.input[:]
        model.graph.input.extend(kept)
    rest = [value for i, value in enumerate(inputs) if i not in turned]
    return replace(
        case,
        variant=VARIANTS[1],
        model=model.SerializeToString(),
        data_sets=((rest, outputs),),
    )


def _case(test: Any, kind: str) -> Case:
    if test.model is not None:
        model = test.model
        sets = [([_plain(v) for v in i], [_plain(v) for v in o]) for i, o in test.data_sets]
    elif test.model_dir is not None:
        model = onnx.load(os.path.join(test.model_dir, "model.onnx"))
        folders = sorted(glob.glob(os.path.join(test.model_dir, "test_data_set*")))
        sets = [_stored_set(model, folder) for folder in folders]
    else:
        model, sets = _light(test.url)
    return Case(
        name=test.name,
        kind=kind,
        variant=VARIANTS[0],
        model=model.SerializeToString(),
        data_sets=tuple(sets),
        rtol=test.rtol,
        atol=test.atol,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return np.asarray(value) if isinstance(value, np.generic) else value


def _stored_set(model: ModelProto, folder: str) -> tuple[list[Any], list[Any]]:
    names = _input_names(model)
    types = [value.type for value in model.graph.input if value.name in names]
    return (
        list(_stored(folder, "input", types)),
        list(_stored(folder, "output", [value.type for value in model.graph.output])),
    )


def _stored(folder: str, side: str, types: Sequence[TypeProto]) -> Iterator[Any]:
    for number, kind in enumerate(types):
        path = os.path.join(folder, f"{side}_{number}.pb")
        with open(path, "rb") as file:
            content = file.read()
        match kind.WhichOneof("value"):
            case "sequence_type":
                yield numpy_helper.to_list(onnx.SequenceProto.FromString(content))
            case "optional_type":
                yield numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
            case _:
                yield numpy_helper.to_array(onnx.TensorProto.FromString(content))


def _light(url: str) -> tuple[ModelProto, list[tuple[list[Any], list[Any]]]]:
    """Return a light model of the package, with the input that the suite makes up for it."""
    package = os.path.dirname(onnx.__file__)
    path = os.path.join(package, url.removeprefix("onnx/"))
    model = onnx.load(path)
    names = _input_names(model)
    inputs = [_ramp(value.type) for value in model.graph.input if value.name in names]
    outputs = [
        _tensor(f"{path.removesuffix('.onnx')}_output_{i}.pb")
        for i in range(len(model.graph.output))
    ]
    return model, [(inputs, outputs)]


def _ramp(kind: TypeProto) -> Any:
    """Return numbers from 0 to 1, as the suite's runner makes inputs for light models."""
    shape = [dim.dim_value or 1 for dim in kind.tensor_type.shape.dim]
    n_elements = int(np.prod(shape))
    return (np.arange(n_elements).reshape(shape) / n_elements).astype(np.float32)


def _tensor(path: str) -> Any:
    with open(path, "rb") as file:
        return numpy_helper.to_array(onnx.TensorProto.FromString(file.read()))


def _input_names(model: ModelProto) -> list[str]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in constants]
