"""The engine's ports, made of onnxruntime and of this process's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.runtime.ort import Environment, OrtSession, Value
from inferonnx.runtime.ort_values import borrow, dump
from inferonnx.runtime.process import PrivateBuffer

if TYPE_CHECKING:
    from inferonnx.runtime.ort_values import Exported
    from inferonnx.sealed import Partition


class OrtRuntime:
    """`engine.Runtime` over one onnxruntime environment."""

    def __init__(self, environment: Environment) -> None:
        """Compute in `environment`."""
        self._environment = environment
        environment.prepare_trim()

    def computation(self, partition: Partition) -> OrtSession:
        """Make a partition's session from its skeleton."""
        return OrtSession(
            self._environment,
            partition.skeleton,
            partition.inputs,
            partition.outputs,
            [weight.name for weight in partition.weights],
        )

    def buffer(self, n_bytes: int) -> PrivateBuffer:
        """Map private memory."""
        return PrivateBuffer(n_bytes)

    def weights(self, partition: Partition, buffer: PrivateBuffer) -> list[Value]:
        """Return values over the places that the weights have in the block."""
        return [
            borrow(
                self._environment,
                buffer,
                buffer.address + weight.offset,
                (weight.dtype, weight.shape, weight.n_bytes),
            )
            for weight in partition.weights
        ]

    def copy(self, value: Value) -> Exported:
        """Return a copy of a value, free of onnxruntime's memory."""
        return dump(self._environment, value)
