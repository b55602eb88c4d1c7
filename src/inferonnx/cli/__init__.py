"""The command line: one file a verb; the only place that prints and exits.

Results go to stdout, talk to stderr. An error is one line, `inferonnx: error:`,
then at most one `hint:`; the exit code comes from the error's class.
"""

from inferonnx.cli.main import main

__all__ = ["main"]
