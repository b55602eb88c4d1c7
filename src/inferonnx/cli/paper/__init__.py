"""`inferonnx paper COMMAND`: the commands of the paper's artifact, one file each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from inferonnx.cli.options import verb
from inferonnx.cli.verbs import Verb

if TYPE_CHECKING:
    from inferonnx.cli.main import Verbs

COMMANDS = {
    "check-accuracy": Verb("check_accuracy", "compare models with their partitions"),
    "run-all": Verb("run_all", "measure everything, and draw the figures and the table"),
    "split-operators": Verb("split_operators", "split models into one ONNX file an operator"),
    "memory-intensive-ops": Verb(
        "memory_intensive_ops", "find the operators that a memory limit slows most"
    ),
    "generate-partitions": Verb("generate_partitions", "partition models as the paper does"),
    "clean-operators": Verb("clean_operators", "remove the operators' files"),
    "cdf": Verb("cdf", "distribution of memory over models and their partitions"),
    "cache-stats": Verb("cache_stats", "count instructions, cycles and cache misses of each model"),
    "report": Verb("report", "draw figures and report again, from what was measured"),
}
"""The commands, as `VERBS` has the verbs."""

_DESCRIPTION = """\
Repeat the InferONNX paper: the commands of its artifact, which scripts/ has under the
artifact's own names. docs/reproduce.md walks through them."""

_EXAMPLES = """\
  inferonnx paper check-accuracy partitions/
  inferonnx paper run-all partitions/ 3"""


def add_parser(verbs: Verbs, name: str = "paper") -> None:
    """Register the verb and its commands."""
    parser = verb(verbs, name, _DESCRIPTION, _EXAMPLES)
    commands = parser.add_subparsers(dest="paper_command", metavar="COMMAND", required=True)
    for command, entry in COMMANDS.items():
        import_module(f"inferonnx.cli.paper.{entry.module}").add_parser(commands, command)
