"""Parameters of gRPC messages, which have one of five types each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inferonnx.oip.errors import InvalidRequestError, shown
from inferonnx.oip.parameters import RESERVED_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inferonnx.oip.requests import Parameter

_ENABLE_EMPTY_FINAL = "triton_enable_empty_final_response"
_MAX_SIGNED = 2**63 - 1


def plain_parameters(parameters: Any) -> dict[str, Parameter]:
    """Return parameters as Python values.

    Raises:
        InvalidRequestError: One has no value.
    """
    return {name: _plain(name, parameters[name]) for name in parameters}


def fill_parameters(parameters: Any, values: Mapping[str, Parameter]) -> None:
    """Put Python values into the parameters of a message."""
    for name, value in values.items():
        if isinstance(value, bool):
            parameters[name].bool_param = value
        elif isinstance(value, int):
            if value > _MAX_SIGNED:
                parameters[name].uint64_param = value
            else:
                parameters[name].int64_param = value
        elif isinstance(value, float):
            parameters[name].double_param = value
        else:
            parameters[name].string_param = value


def read_request_parameters(members: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return those fields of an `InferRequest` that come from the request's parameters."""
    fields: dict[str, Any] = {}
    custom: dict[str, Parameter] = {}
    for name, value in members.items():
        match name:
            case "sequence_id":
                if isinstance(value, bool | float):
                    raise _wrong(name, "int64_param or string_param")
            case "sequence_start" | "sequence_end":
                _boolean(name, value)
            case "priority":
                fields["priority"] = _count(name, value, "int64_param or uint64_param")
            case "timeout":
                fields["timeout_us"] = _count(name, value, "int64_param")
            case _ if name == _ENABLE_EMPTY_FINAL:
                fields["empty_final_response"] = _boolean(name, value)
            case _ if name.startswith(RESERVED_PREFIX):
                raise InvalidRequestError(
                    f"parameter keys starting with '{RESERVED_PREFIX}' are reserved for Triton "
                    f"usage. Only the following keys starting with '{RESERVED_PREFIX}' are "
                    f"allowed: {_ENABLE_EMPTY_FINAL}"
                )
            case _:
                custom[name] = value
    return {**fields, "parameters": custom}


def read_classification(members: Mapping[str, Parameter], output: str) -> int:
    """Return how many classes of an output are asked for; 0 for its values."""
    value = members.get("classification", 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidRequestError(
            "invalid value type for 'classification' parameter for output tensor "
            f"'{shown(output)}', expected int64_param."
        )
    return value


def _plain(name: str, parameter: Any) -> Parameter:
    field = parameter.WhichOneof("parameter_choice")
    if field is None:
        raise InvalidRequestError(f"parameter '{shown(name)}' has no value")
    value: Parameter = getattr(parameter, field)
    return value


def _boolean(name: str, value: Parameter) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "bool_param")
    return value


def _count(name: str, value: Parameter, kinds: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(name, kinds)
    if value < 0:
        raise InvalidRequestError(f"invalid value for '{name}', expected value >= 0.")
    return value


def _wrong(name: str, kinds: str) -> InvalidRequestError:
    return InvalidRequestError(f"invalid value type for '{name}' parameter, expected {kinds}.")
