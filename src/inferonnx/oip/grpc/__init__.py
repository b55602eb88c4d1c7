"""The protocol over gRPC: messages, methods, and inferences to and from the values of `oip`.

Only who serves or speaks gRPC imports this: it needs the extra `grpc`.
"""

from __future__ import annotations

from inferonnx.oip.grpc.documents import (
    check_repository_request,
    config_reply,
    encode_message,
    index_reply,
    log_reply,
    parse_message,
    trace_reply,
    wanted_log_settings,
    wanted_trace_settings,
)
from inferonnx.oip.grpc.fields import HEALTH_SERVICE, METHODS, SERVICE, STREAM
from inferonnx.oip.grpc.infer import (
    encode_infer_request,
    encode_infer_response,
    encode_stream_error,
    encode_stream_response,
    parse_infer_request,
    parse_infer_response,
)

__all__ = [
    "HEALTH_SERVICE",
    "METHODS",
    "SERVICE",
    "STREAM",
    "check_repository_request",
    "config_reply",
    "encode_infer_request",
    "encode_infer_response",
    "encode_message",
    "encode_stream_error",
    "encode_stream_response",
    "index_reply",
    "log_reply",
    "parse_infer_request",
    "parse_infer_response",
    "parse_message",
    "trace_reply",
    "wanted_log_settings",
    "wanted_trace_settings",
]
