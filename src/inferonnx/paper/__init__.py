"""The InferONNX paper's experiments, repeated: its artifact's commands as functions.

Each command of the artifact is a module of this room; `scripts/` has them under the
artifact's names, `inferonnx paper` as subcommands. docs/reproduce.md walks through them.
"""
