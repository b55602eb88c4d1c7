"""Members of JSON objects, read one at a time in Triton's words when they are wrong."""

from __future__ import annotations

from inferonnx.oip.errors import InvalidRequestError, UnsupportedError, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from inferonnx.oip.requests import Parameter

_MAX_UNSIGNED = 2**64 - 1

RESERVED_PREFIX = "triton_"
"""Parameters that begin so belong to the server."""


def read_text(members: dict[str, Any], name: str) -> str:
    """Return a member that must be there and be a string."""
    return as_text(_required(members, name), name)


def as_text(value: object, name: str) -> str:
    """Return `value`, which must be a string."""
    if not isinstance(value, str):
        raise _wrong(name, "non-string as string")
    return value


def as_boolean(value: object, name: str) -> bool:
    """Return `value`, which must be true or false."""
    if not isinstance(value, bool):
        raise _wrong(name, "non-boolean as boolean")
    return value


def as_unsigned(value: object, name: str) -> int:
    """Return `value`, which must be an integer of 64 bits without a sign."""
    if type(value) is not int or not 0 <= value <= _MAX_UNSIGNED:
        raise _wrong(name, "non-unsigned-integer as unsigned-integer")
    return value


def as_members(value: object, name: str) -> dict[str, Any]:
    """Return `value`, which must be an object; null is one without members."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise not_members(name)
    return value


def not_members(name: str) -> InvalidRequestError:
    """Return the error for a value that must be an object."""
    return _wrong(name, "non-object as object")


def as_shape(members: dict[str, Any]) -> tuple[int, ...]:
    """Return the member `shape`, an array of sizes; how large they are is checked later."""
    value = _required(members, "shape")
    if not isinstance(value, list):
        raise _wrong("shape", "non-array as array")
    return tuple(as_unsigned(size, "shape") for size in value)


def refuse_shared_memory(parameters: dict[str, Any]) -> None:
    """Refuse a tensor that lies in memory which the caller shares: an enclave has none."""
    if "shared_memory_region" in parameters:
        raise UnsupportedError("shared memory is not supported: send the tensor in the request")


def custom_parameter(name: str, value: object) -> Parameter:
    """Return a parameter that the protocol leaves to the model."""
    if not isinstance(value, bool | int | float | str):
        raise InvalidRequestError(
            f"parameter '{shown(name)}' has invalid type. It should be either "
            "'int', 'bool', or 'string'."
        )
    return value


def read_request_parameters(members: dict[str, Any]) -> dict[str, Any]:
    """Return those fields of an `InferRequest` that come from the request's parameters.

    What belongs to sequences is checked and dropped, since no model here keeps state.
    """
    fields: dict[str, Any] = {}
    custom: dict[str, Parameter] = {}
    for name, value in members.items():
        match name:
            case "binary_data_output":
                fields["binary_output_default"] = as_boolean(value, name)
            case "timeout":
                fields["timeout_us"] = as_unsigned(value, name)
            case "priority":
                fields["priority"] = as_unsigned(value, name)
            case "sequence_start" | "sequence_end":
                as_boolean(value, name)
            case "sequence_id":
                if not isinstance(value, str):
                    as_unsigned(value, name)
            case _:
                if name.startswith(RESERVED_PREFIX):
                    raise InvalidRequestError(
                        f"parameter keys starting with '{RESERVED_PREFIX}' are reserved for "
                        "Triton usage and should not be specified."
                    )
                custom[name] = custom_parameter(name, value)
    return {**fields, "parameters": custom}


def _required(members: dict[str, Any], name: str) -> object:
    if name not in members:
        raise InvalidRequestError(
            f"Unable to parse '{name}': attempt to access non-existing object member '{name}'"
        )
    return members[name]


def _wrong(name: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"Unable to parse '{name}': attempt to access JSON {what}")
