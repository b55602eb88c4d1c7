"""Write a sealed model in the clear: unseal.py MODEL.sealed PLAIN --key KEY."""

from __future__ import annotations

import argparse
import sys

from plain_file import unseal

from inferonnx.app.host.keys import Key
from inferonnx.errors import InferonnxError


def main() -> int:
    """Do it; an error of the sealed file's is one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sealed")
    parser.add_argument("plain")
    parser.add_argument("--key", required=True)
    options = parser.parse_args()
    try:
        unseal(options.sealed, options.plain, key=Key.load(options.key))
    except InferonnxError as error:
        print(f"unseal: {error.message}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
