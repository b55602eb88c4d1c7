"""A model's original graph as plain ONNX files, one after another: a chain.

Any ONNX runtime can run the files in the order of `index.json`, handing values from one
to the next by name. Nothing is optimised or encrypted here: this is the paper's form of
a partitioned model, and what is compared with the sealed stream.
"""

from __future__ import annotations

from inferonnx.model.chain.index import INDEX, Chain, Link, check_model, load_chain, read_index
from inferonnx.model.chain.joining import PreparedChain, prepare_chain
from inferonnx.model.chain.making import Removed, cut_chain, is_unmade, make_folder, remove_chain
from inferonnx.model.chain.measuring import OperatorFigures, choose_sample, measure_operators
from inferonnx.model.chain.original import Original, file_sha256, read_original
from inferonnx.model.chain.running import ChainRun, ChainSession
from inferonnx.model.chain.types import infer_value_types

__all__ = [
    "INDEX",
    "Chain",
    "ChainRun",
    "ChainSession",
    "Link",
    "OperatorFigures",
    "Original",
    "PreparedChain",
    "Removed",
    "check_model",
    "choose_sample",
    "cut_chain",
    "file_sha256",
    "infer_value_types",
    "is_unmade",
    "load_chain",
    "make_folder",
    "measure_operators",
    "prepare_chain",
    "read_index",
    "read_original",
    "remove_chain",
]
