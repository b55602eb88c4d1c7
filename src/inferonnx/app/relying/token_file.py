"""Where a caller's token comes from: a file, or the environment; never the command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inferonnx.runtime.files import read_key_file

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "INFERONNX_TOKEN"


def find_token(path: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the token in a file, else in the environment; None where there is none.

    Args:
        path: A file that nobody but its owner can read; its first line is the token.
        environment: Of this process.

    Raises:
        KeyFileError: Others can read the file.
        UsageError: It is not there.
    """
    if path is None:
        return environment.get(VARIABLE) or None
    content = read_key_file(path, what="token file")
    return content.split(b"\n")[0].strip().decode("utf-8", "replace")
