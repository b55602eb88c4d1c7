"""`inferonnx paper cdf` under the name that the paper's artifact gives it."""

import sys

from inferonnx.cli import main

if __name__ == "__main__":
    sys.exit(main(["paper", "cdf", *sys.argv[1:]]))
