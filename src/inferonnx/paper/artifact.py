"""What the paper and its artifact fix: models, limits, names of folders and files."""

from __future__ import annotations

SMALL_MODELS = ("squeezenet1.0-7", "mobilenetv2-7", "densenet-7", "efficientnet-lite4-11")
"""The left panel of figures 4 and 5, in the paper's order."""

LARGE_MODELS = ("inception-v3-12", "resnet101-v2-7", "resnet152-v2-7", "efficientnet-v2-l-18")
"""The right panel."""

EIGHT = (*SMALL_MODELS, *LARGE_MODELS)

TITLES = {
    "squeezenet1.0-7": "SqueezeNet 1.0",
    "mobilenetv2-7": "MobileNetV2",
    "densenet-7": "DenseNet-121",
    "efficientnet-lite4-11": "EfficientNet-Lite4",
    "inception-v3-12": "Inception V3",
    "resnet101-v2-7": "ResNet-101 V2",
    "resnet152-v2-7": "ResNet-152 V2",
    "efficientnet-v2-l-18": "EfficientNetV2",
}
"""As the paper's figures name the models."""

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

LIMIT_BYTES = 85_000_000
"""What the operators of a partition may add up to: the artifact counts decimal megabytes."""

OVERHEAD_LIMIT = 12.0
"""(inside - outside) / outside above which an operator is memory-intensive, and stands alone."""

PARTITIONS = "partitions"
NEW_PARTITIONS = "new_partitions"
OPERATORS = "operators"
"""Folders within a model's folder."""

OVERHEAD_FOLDER = "memory_intensive_ops"
OVERHEAD_FILE = "operator_overhead.txt"
"""Where the operators that stand alone are listed, beside `<model>_operator_times.txt`."""
