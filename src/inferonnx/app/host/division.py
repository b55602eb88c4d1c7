"""How a server's budget is divided: what requests may hold, and what is left for models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.errors import InfeasibleBudgetError
from inferonnx.server.limits import IDLE_BYTES
from inferonnx.sizes import MIB, format_size

if TYPE_CHECKING:
    from inferonnx.control import ServerConfig

REQUEST_SHARE = 16
LEAST_REQUEST_BYTES = 4 * MIB
"""Requests may hold a sixteenth of the budget, or this: eight images of 224 x 224 in FP32."""

SLACK_BYTES = MIB
"""What heaps differ by from run to run."""


def requests_bytes(config: ServerConfig) -> int:
    """Return what requests may hold."""
    return max(LEAST_REQUEST_BYTES, config.memory_bytes // REQUEST_SHARE)


def models_bytes(config: ServerConfig, floor: int) -> int:
    """Return what models may hold, beside floor, connections and requests."""
    connections = config.max_connections * IDLE_BYTES
    others = floor + requests_bytes(config) + connections + SLACK_BYTES
    if config.grpc is not None:
        from inferonnx.server.grpc import reserved_bytes

        others += reserved_bytes(config.max_connections, IDLE_BYTES)
    if others >= config.memory_bytes:
        raise InfeasibleBudgetError(
            f"the server alone needs {format_size(others)}, and the budget is "
            f"{format_size(config.memory_bytes)}",
            needed_bytes=others,
            budget_bytes=config.memory_bytes,
            hint="Give it more with --memory: models come on top.",
        )
    return config.memory_bytes - others


def least_budget(config: ServerConfig, for_models: int, needed_bytes: int) -> int:
    """Return the least budget that leaves so much for models; requests have their part of it.

    Args:
        config: With the budget that was given.
        for_models: What is for models in that one.
        needed_bytes: What they need.
    """
    others = config.memory_bytes - for_models - requests_bytes(config) + needed_bytes
    return max(others + LEAST_REQUEST_BYTES, -(-others * REQUEST_SHARE // (REQUEST_SHARE - 1)))
