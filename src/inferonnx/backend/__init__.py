"""An ONNX backend over the sealed stream, and the standard's conformance suite run on it.

A backend in the sense of `onnx.backend.base`: this module has the four functions of
one, so the standard's test runner takes it as it is.
"""

from __future__ import annotations

from inferonnx.backend.standard import SealedBackend, SealedRep

__all__ = [
    "SealedBackend",
    "SealedRep",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]

prepare = SealedBackend.prepare
run_model = SealedBackend.run_model
run_node = SealedBackend.run_node
supports_device = SealedBackend.supports_device
