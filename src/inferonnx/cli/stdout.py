"""Standard output and error that may go away or be full while a command still works.

Whoever read the output may have had enough (`| head`): the rest is dropped, and the
command goes on to its own end and exit code. Any other failure to write it is an
error like others. Nothing else that breaks a pipe is taken for either. Talk that
can't be written is dropped: nobody listens.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from inferonnx.errors import UnavailableError

if TYPE_CHECKING:
    from typing import Any, Self


class StandardOutput:
    """Stands in for sys.stdout in a `with` block."""

    _name = "stdout"

    def __init__(self) -> None:
        """Wrap what the stream is now; None, where there is none, stays None."""
        self._stream = getattr(sys, self._name)
        self._gone = self._stream is None

    def __enter__(self) -> Self:
        """Put it into the stream's place."""
        if self._stream is not None:
            setattr(sys, self._name, self)
        return self

    def __exit__(self, *_exception: object) -> None:
        setattr(sys, self._name, self._stream)

    def __getattr__(self, name: str) -> Any:  # whatever else a text file has
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, unless the reader has gone.

        Raises:
            UnavailableError: It can't be written.
        """
        if not self._gone:
            try:
                return int(self._stream.write(text))
            except OSError as error:
                self._fail(error)
        return len(text)

    def flush(self) -> None:
        """Write out what is buffered.

        Raises:
            UnavailableError: It can't be written.
        """
        if not self._gone:
            try:
                self._stream.flush()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._gone = True
        # What is still buffered would fail again when the interpreter ends, and be told.
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
        if not isinstance(error, BrokenPipeError):
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        raise UnavailableError(
            f"the output can't be written: {os.strerror(error.errno or 0)}",
            hint="Free some disk space, or send it elsewhere.",
        ) from error


class StandardError(StandardOutput):
    """Stands in for sys.stderr in a `with` block; what can't be written is dropped."""

    _name = "stderr"

    def __enter__(self) -> Self:
        """Put it into the stream's place, also where there is none: print takes None for stdout."""
        sys.stderr = self
        return self

    def _tell(self, error: OSError) -> None:
        """Say nothing: there is no other place to say it."""
