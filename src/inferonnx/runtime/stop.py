"""Ending what onnxruntime computes, from outside of the call that waits for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferonnx.runtime.ort_api import OrtApi


class Stop:
    """Ends one call, wherever it is: `engine.Stop`, and the options of its runs.

    onnxruntime looks at the flag in them before each node, those of a Loop's body
    included. A node that computes is never interrupted.

    Attributes:
        is_set: Whether nobody wants the call's results any more.
    """

    def __init__(self) -> None:
        """Let the call go on."""
        self.is_set = False
        self._lock = threading.Lock()
        self._api: OrtApi | None = None
        self._options = 0

    def set(self) -> None:
        """End the call, from any thread; again does nothing."""
        with self._lock:
            self.is_set = True
            self._tell()

    def options(self, api: OrtApi) -> int:
        """Return what to run with; made at the call's first run, which takes a microsecond."""
        if not self._options:
            with self._lock:
                if not self._options:
                    self._api, self._options = api, api.make("CreateRunOptions")
                    self._tell()
        return self._options

    def _tell(self) -> None:
        if self.is_set and self._api is not None:
            self._api.call("RunOptionsSetTerminate", self._options)

    def __del__(self) -> None:
        if getattr(self, "_options", 0) and self._api is not None:
            self._api.release("RunOptions", self._options)
