"""`python -m inferonnx` is the command line."""

import sys

from inferonnx.cli import main

if __name__ == "__main__":
    sys.exit(main())
