"""The owner's side that takes any ONNX model apart.

onnxruntime optimises the graph once; what it saved is cut into *skeletons*, small
models whose large initializers are inputs, and *weights*, the bytes that belong
into those inputs. What is rewritten, split or left whole: docs/models-in.md.
"""

from __future__ import annotations

from inferonnx.model.prepare import prepare
from inferonnx.model.prepared import Prepared, Probe, Signature, WeightData
from inferonnx.model.skeleton import Skeleton

__all__ = ["Prepared", "Probe", "Signature", "Skeleton", "WeightData", "prepare"]
