"""A request held against a model's signature, and the model's tensors turned into an answer."""

from __future__ import annotations

from inferonnx.oip.classification import ClassCost, check_classifiable, class_cost, classify
from inferonnx.oip.datatypes import datatype_of, parse_raw
from inferonnx.oip.errors import InvalidRequestError, shown
from inferonnx.oip.requests import Allowance, InferRequest, InferResponse, NamedTensor
from inferonnx.oip.rest_writing import refuse_half
from inferonnx.oip.shapes import show_shape
from inferonnx.oip.signature import ANY_SIZE
from inferonnx.tensors import TEXT_ERRORS, DType, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from inferonnx.oip.requests import RawRequest, WantedOutput
    from inferonnx.oip.signature import ModelSignature, TensorSpec

_MAX_VERSION = 2**63 - 1


def parse_model_version(text: str) -> int | None:
    """Return the version that a caller names, None for the newest.

    Raises:
        InvalidRequestError: It is no number of 63 bits.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > _MAX_VERSION:
        raise InvalidRequestError(
            f"failed to get model version from specified version string '{shown(text)}', "
            "version should be an integral value > 0"
        )
    return int(text)


def check_request(
    request: InferRequest, signature: ModelSignature, *, is_json: bool = True
) -> dict[str, Tensor]:
    """Return the inputs by name when the request is one that the model can take.

    Args:
        request: Well formed already.
        signature: Of the model.
        is_json: Whether outputs that are not asked for in binary form go out as JSON, as
            they do in REST replies; what JSON can't carry is refused before it is computed.

    Raises:
        InvalidRequestError: One sentence, Triton's.
    """
    model = shown(request.model_name)
    _check_outputs(request, signature, model, is_json=is_json)
    inputs = {named.name: named.tensor for named in request.inputs}
    specs = {spec.name: spec for spec in signature.inputs}
    if len(inputs) != len(specs):
        raise InvalidRequestError(
            f"expected {len(specs)} inputs but got {len(inputs)} inputs for model '{model}'. "
            f"Got input(s) {_quoted(inputs)}, but missing required input(s) "
            f"{_quoted(name for name in specs if name not in inputs)}. "
            "Please provide all required input(s)."
        )
    for name in inputs:
        if name not in specs:
            raise InvalidRequestError(
                f"unexpected inference input '{shown(name)}' for model '{model}'"
            )
    if signature.max_batch_size:
        _check_batch(inputs, signature.max_batch_size, model)
    for name, tensor in inputs.items():
        _check_input(tensor, specs[name], model)
    return {name: inputs[name] for name in specs}


def resolve_raw(raw: RawRequest, signature: ModelSignature) -> InferRequest:
    """Return the request that a body of nothing but elements stands for.

    Raises:
        InvalidRequestError: The model's input does not say what the bytes are.
    """
    model = shown(raw.model_name)
    if len(signature.inputs) != 1:
        raise InvalidRequestError(
            "Raw request must only have 1 input (found 1) to be deduced but got "
            f"{len(signature.inputs)} inputs in '{model}' model configuration"
        )
    (spec,) = signature.inputs
    if spec.dtype is DType.STRING:
        tensor = _raw_string(raw, spec, signature)
    else:
        tensor = parse_raw(
            spec.dtype,
            _raw_shape(raw, spec, signature),
            raw.data,
            name=spec.name,
            model_name=raw.model_name,
            allowance=Allowance(0),
        )
    return InferRequest(
        model_name=raw.model_name,
        model_version=raw.model_version,
        inputs=(NamedTensor(name=spec.name, tensor=tensor),),
        binary_output_default=True,
    )


def make_response(
    request: InferRequest,
    signature: ModelSignature,
    tensors: Sequence[Tensor],
    *,
    model_version: str,
) -> InferResponse:
    """Return the answer that a model's outputs are to a request.

    Args:
        request: Checked against `signature`.
        signature: Of the model.
        tensors: Its outputs, all of them, in its order.
        model_version: Of the version that computed them.

    Raises:
        InvalidRequestError: Classes are asked for of too many values.
    """
    outputs = []
    for wanted, tensor in _wanted(request, signature, tensors):
        if wanted.classification:
            is_batched = _is_batched(signature)
            tensor = classify(tensor, wanted.classification, is_batched=is_batched)  # noqa: PLW2901
        outputs.append(NamedTensor(name=wanted.name, tensor=tensor))
    return InferResponse(
        model_name=request.model_name,
        model_version=model_version,
        id=request.id,
        outputs=tuple(outputs),
    )


def classes_cost(
    request: InferRequest, signature: ModelSignature, tensors: Sequence[Tensor]
) -> ClassCost:
    """Return what `make_response` takes for classes, by the same arguments and errors."""
    costs = [
        class_cost(tensor, wanted.classification, is_batched=_is_batched(signature))
        for wanted, tensor in _wanted(request, signature, tensors)
        if wanted.classification
    ]
    return ClassCost(sum(cost.n_values for cost in costs), sum(cost.n_bytes for cost in costs))


def _wanted(
    request: InferRequest, signature: ModelSignature, tensors: Sequence[Tensor]
) -> Iterator[tuple[WantedOutput, Tensor]]:
    """Give the outputs that were asked for, in the model's order, and how."""
    for spec, tensor in zip(signature.outputs, tensors, strict=True):
        wanted = request.output(spec.name)
        if wanted is not None:
            yield wanted, tensor


def _is_batched(signature: ModelSignature) -> bool:
    return signature.max_batch_size > 0 or signature.has_free_batch


def _check_outputs(
    request: InferRequest, signature: ModelSignature, model: str, *, is_json: bool
) -> None:
    specs = {spec.name: spec for spec in signature.outputs}
    for wanted in request.outputs:
        if wanted.name not in specs:
            raise InvalidRequestError(
                f"unexpected inference output '{shown(wanted.name)}' for model '{model}'"
            )
    for name, spec in specs.items():
        asked = request.output(name)
        if asked is None:
            continue
        if asked.classification:
            check_classifiable(spec.dtype)
        elif is_json and not asked.binary:
            refuse_half(spec.dtype, side="output", name=name)


def _check_batch(inputs: dict[str, Tensor], most: int, model: str) -> None:
    """Refuse inputs whose first axes differ, or are longer than a request's may be."""
    size: int | None = None
    for name, tensor in inputs.items():
        if not tensor.shape:
            raise InvalidRequestError(
                f"input '{shown(name)}' has no shape but model requires batch dimension "
                f"for '{model}'"
            )
        if size is not None and tensor.shape[0] != size:
            raise InvalidRequestError(
                f"input '{shown(name)}' batch size does not match other inputs for '{model}'"
            )
        size = tensor.shape[0]
    if size is not None and size > most:
        raise InvalidRequestError(f"inference request batch-size must be <= {most} for '{model}'")


def _check_input(tensor: Tensor, spec: TensorSpec, model: str) -> None:
    if tensor.dtype is not spec.dtype:
        raise InvalidRequestError(
            f"inference input '{spec.name}' data-type is '{datatype_of(tensor.dtype)}', "
            f"but model '{model}' expects '{spec.datatype}'"
        )
    if spec.shape is None:
        return
    if len(spec.shape) != len(tensor.shape) or any(
        want not in (ANY_SIZE, got) for want, got in zip(spec.shape, tensor.shape, strict=True)
    ):
        raise InvalidRequestError(
            f"unexpected shape for input '{spec.name}' for model '{model}'. "
            f"Expected {show_shape(spec.shape)}, got {show_shape(tensor.shape)}."
        )


def _raw_shape(raw: RawRequest, spec: TensorSpec, signature: ModelSignature) -> tuple[int, ...]:
    shape = _dims(spec, signature)
    free = shape.count(ANY_SIZE)
    if free > 1 or spec.shape is None:
        raise InvalidRequestError(
            f"The shape of the raw input '{spec.name}' can not be deduced because there are "
            "more than one variable-sized dimension"
        )
    fixed = spec.dtype.item_bytes
    for size in shape:
        fixed *= 1 if size == ANY_SIZE else size
    deduced = len(raw.data) // fixed if fixed else 0
    return tuple(deduced if size == ANY_SIZE else size for size in shape)


def _raw_string(raw: RawRequest, spec: TensorSpec, signature: ModelSignature) -> Tensor:
    shape = _dims(spec, signature)
    if spec.shape is None or any(size != 1 for size in shape):
        raise InvalidRequestError(
            f"For BYTE datatype raw input '{spec.name}', the model must have input shape [1]"
        )
    text = str(raw.data, "utf-8", TEXT_ERRORS)
    return Tensor(dtype=DType.STRING, shape=shape, strings=(text,))


def _dims(spec: TensorSpec, signature: ModelSignature) -> tuple[int, ...]:
    """Return the shape with a batch of one where the model is batched.

    So is one whose rows can be joined, unless the rows are the only thing free about it:
    then the bytes say how many there are. Strings never do.
    """
    shape = spec.shape or ()
    is_unsaid = shape.count(ANY_SIZE) > 1 or (spec.dtype is DType.STRING and len(shape) > 1)
    is_batched = signature.max_batch_size > 0 or (signature.has_free_batch and is_unsaid)
    return (1, *shape[1:]) if shape and is_batched else shape


def _quoted(names: Iterable[str]) -> str:
    return "[" + ",".join(f"'{shown(name)}'" for name in names) + "]"
