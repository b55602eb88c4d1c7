"""The Open Inference Protocol (KServe V2, with Triton's extensions): bytes in, values out.

Server and client use the same codec. REST is here, gRPC in `oip.grpc`, which only who
serves gRPC imports. docs/protocol.md says what is served and where it differs from Triton.
"""

from __future__ import annotations

from inferonnx.oip.checks import check_request, make_response, parse_model_version, resolve_raw
from inferonnx.oip.datatypes import DATATYPES, TEXT_ERRORS, datatype_of, encode_raw, parse_raw
from inferonnx.oip.errors import (
    ERRORS,
    AlreadyExistsError,
    BadReplyError,
    BusyError,
    CancelledError,
    DeadlineError,
    InternalError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    OipError,
    PermissionDeniedError,
    SlowRequestError,
    StorageFullError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedError,
    as_oip_error,
    encode_error,
    parse_error,
    unknown_model,
)
from inferonnx.oip.requests import (
    Allowance,
    InferRequest,
    InferResponse,
    Limits,
    NamedTensor,
    RawRequest,
    WantedOutput,
)
from inferonnx.oip.rest_request import (
    HEADER_LENGTH_NAME,
    encode_infer_request,
    parse_header_length,
    parse_infer_request,
)
from inferonnx.oip.rest_response import (
    BINARY_TYPE,
    JSON_TYPE,
    encode_infer_response,
    parse_infer_response,
)
from inferonnx.oip.signature import ANY_SIZE, ModelSignature, TensorSpec, make_signature

__all__ = [
    "ANY_SIZE",
    "BINARY_TYPE",
    "DATATYPES",
    "ERRORS",
    "HEADER_LENGTH_NAME",
    "JSON_TYPE",
    "TEXT_ERRORS",
    "Allowance",
    "AlreadyExistsError",
    "BadReplyError",
    "BusyError",
    "CancelledError",
    "DeadlineError",
    "InferRequest",
    "InferResponse",
    "InternalError",
    "InvalidRequestError",
    "Limits",
    "MethodNotAllowedError",
    "ModelSignature",
    "NamedTensor",
    "NotFoundError",
    "OipError",
    "PermissionDeniedError",
    "RawRequest",
    "SlowRequestError",
    "StorageFullError",
    "TensorSpec",
    "TooLargeError",
    "UnauthenticatedError",
    "UnsupportedError",
    "WantedOutput",
    "as_oip_error",
    "check_request",
    "datatype_of",
    "encode_error",
    "encode_infer_request",
    "encode_infer_response",
    "encode_raw",
    "make_response",
    "make_signature",
    "parse_error",
    "parse_header_length",
    "parse_infer_request",
    "parse_infer_response",
    "parse_model_version",
    "parse_raw",
    "resolve_raw",
    "unknown_model",
]
