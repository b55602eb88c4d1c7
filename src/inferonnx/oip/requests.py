"""What a request for an inference and its answer say, whichever way they travel."""

from __future__ import annotations

from dataclasses import dataclass, field

from inferonnx.oip.errors import TooLargeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from inferonnx.tensors import Tensor

    Parameter = bool | int | float | str

MAX_JSON_BYTES = 64 << 20
"""JSON of a request: what Triton takes by default. A server may allow less."""

MAX_TENSOR_BYTES = 256 << 20
"""Memory that parsed tensors may take besides the body. A server may allow less."""

_TEXT_BYTES = 57
"""A Python string of ASCII besides its characters, with the reference to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may take.

    Attributes:
        json_bytes: Length of the JSON part.
        tensor_bytes: Memory of all tensors that are not views of the body.
    """

    json_bytes: int = MAX_JSON_BYTES
    tensor_bytes: int = MAX_TENSOR_BYTES


class Allowance:
    """Memory that one request may still take; it only goes down."""

    __slots__ = ("_left", "_most")

    def __init__(self, n_bytes: int) -> None:
        """Start with all of it."""
        self._left = self._most = n_bytes

    def take(self, n_bytes: int) -> None:
        """Count `n_bytes` before they are allocated.

        Raises:
            TooLargeError: They are more than what is left.
        """
        self._left -= n_bytes
        if self._left < 0:
            raise TooLargeError(
                f"the request's tensors take more than the {self._most} bytes of memory allowed"
            )

    def take_string(self, text: str) -> None:
        """Count a string; characters beyond ASCII make all of its characters wider."""
        self.take(_TEXT_BYTES + (len(text) if text.isascii() else 4 * len(text)))


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTensor:
    """An input or an output."""

    name: str
    tensor: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedOutput:
    """An output that the caller asks for.

    Attributes:
        name: Of the output.
        binary: Whether it is to come in its binary form, in a REST reply.
        classification: How many classes to name instead of all values; 0 for the values.
    """

    name: str
    binary: bool = False
    classification: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """A request for an inference, well formed but not yet held against a model.

    Attributes:
        model_name: From the path, or the message.
        model_version: Digits; empty for the newest.
        id: The caller's, to be repeated in the answer; may be empty.
        parameters: What the protocol leaves to the model; ONNX models ignore it.
        inputs: No name twice.
        outputs: No name twice; none stands for all of the model's.
        binary_output_default: Whether outputs are binary in a REST reply where `outputs`
            names none.
        timeout_us: Microseconds that the request may wait in a queue; 0 for no limit.
        priority: As sent; 0 when not. Accepted and not honoured.
        empty_final_response: Whether a stream of answers is to be told its end (gRPC).
    """

    model_name: str
    model_version: str = ""
    id: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    inputs: tuple[NamedTensor, ...] = ()
    outputs: tuple[WantedOutput, ...] = ()
    binary_output_default: bool = False
    timeout_us: int = 0
    priority: int = 0
    empty_final_response: bool = False

    def output(self, name: str) -> WantedOutput | None:
        """Return what is asked of the output `name`, None when it is not asked for."""
        if not self.outputs:
            return WantedOutput(name=name, binary=self.binary_output_default)
        return next((wanted for wanted in self.outputs if wanted.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRequest:
    """A body that is nothing but the elements of the model's only input."""

    model_name: str
    model_version: str = ""
    data: memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class InferResponse:
    """The answer to an `InferRequest`.

    Attributes:
        model_name: Of the model that answered.
        model_version: Of the version that answered.
        id: The request's.
        parameters: Of the answer; mostly none.
        outputs: In the model's order.
    """

    model_name: str
    model_version: str = ""
    id: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    outputs: tuple[NamedTensor, ...] = ()
