"""What the paper and its artifact fix: models, names of folders and files.

The models, their titles and panels come from where the figures are drawn.
"""

from __future__ import annotations

from inferonnx.report import LARGE_MODELS, SMALL_MODELS, TITLES

EIGHT = (*SMALL_MODELS, *LARGE_MODELS)

PUBLISHED_PARTITIONS = {
    "squeezenet1.0-7": 2,
    "mobilenetv2-7": 4,
    "inception-v3-12": 4,
    "efficientnet-lite4-11": 11,
    "densenet-7": 14,
    "resnet152-v2-7": 14,
    "resnet101-v2-7": 17,
    "efficientnet-v2-l-18": 87,
}
"""Partitions that the artifact ships, by model."""

PARTITIONS = "partitions"
NEW_PARTITIONS = "new_partitions"
OPERATORS = "operators"
"""Folders within a model's folder."""

OVERHEAD_FOLDER = "memory_intensive_ops"
OVERHEAD_FILE = "operator_overhead.txt"
"""Where the operators that stand alone are listed, beside `<model>_operator_times.txt`."""

__all__ = [
    "EIGHT",
    "LARGE_MODELS",
    "NEW_PARTITIONS",
    "OPERATORS",
    "OVERHEAD_FILE",
    "OVERHEAD_FOLDER",
    "PARTITIONS",
    "PUBLISHED_PARTITIONS",
    "SMALL_MODELS",
    "TITLES",
]
