"""`inferonnx` and `python -m inferonnx`: the command line, from its first moment on.

While modules are still imported, Ctrl-C would end in Python's own traceback. So this
answers it before anything is imported that the interpreter has not loaded by itself.
"""

import os
import sys

# What `signal` wraps; that imports enum first, milliseconds in which an interrupt may come.
# Typeshed has no stub for it.
from _signal import SIGINT, signal  # type: ignore[import-not-found]

_INTERRUPTED = 130
_SENTENCE = b"inferonnx: interrupted; nothing unfinished was left behind\n"


def start() -> int:
    """Run the command that the process was started with; return its exit code."""
    signal(SIGINT, _leave)
    from inferonnx.cli import main

    try:
        return main()
    except KeyboardInterrupt:  # between two lines of what answers them
        return _leave()


def _leave(*_signal: object) -> int:
    """Say so and end at once: nothing was begun, and half an import can't be unwound."""
    try:
        os.write(2, _SENTENCE)
    finally:
        os._exit(_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(start())
