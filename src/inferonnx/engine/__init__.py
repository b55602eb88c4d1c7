"""The pass: read a block, open it, run its partition, let go of what is dead.

The engine knows a manifest, a way to read ciphertext and a way to compute; it
declares the last two as ports and is handed them.
"""

from inferonnx.engine.blocks import BlockLoader
from inferonnx.engine.events import PassEvent
from inferonnx.engine.ports import Buffer, Computation, Runtime, Source
from inferonnx.engine.stream import Stream, StreamFigures

__all__ = [
    "BlockLoader",
    "Buffer",
    "Computation",
    "PassEvent",
    "Runtime",
    "Source",
    "Stream",
    "StreamFigures",
]
