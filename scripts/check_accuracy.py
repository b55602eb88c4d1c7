"""`inferonnx paper check-accuracy` under the name that the paper's artifact gives it."""

import sys

from inferonnx.cli import main

if __name__ == "__main__":
    sys.exit(main(["paper", "check-accuracy", *sys.argv[1:]]))
