"""gRPC: the protocol's other way, over HTTP/2 on the same TLS connections.

Only who serves gRPC imports this: it needs the extra `grpc` (`h2` and `protobuf`).
"""

from __future__ import annotations

from inferonnx.server.grpc.service import GrpcService, reserved_bytes

__all__ = ["GrpcService", "reserved_bytes"]
