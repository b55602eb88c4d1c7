"""Files without a name: what onnxruntime writes for us and nobody else shall find.

The optimised model's weights are the owner's secret in plain form. They go into
files that were never given a name (`O_TMPFILE`), in memory where they fit, else
in the folder for temporary files; such a file ends with its last descriptor or
mapping, however the process ends. onnxruntime reaches them through
`/proc/self/fd`. Where the system has no nameless files, a folder that only we
can enter holds them until they are mapped.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Self

from inferonnx.errors import UnavailableError

if TYPE_CHECKING:
    from types import TracebackType

_MEMORY_FOLDER = "/dev/shm"  # noqa: S108 - nameless files, or a folder of our own in it
_DESCRIPTORS = "/proc/self/fd"


class ScratchPair:
    """Two files for one optimised model: its graph, and its large initializers.

    Attributes:
        graph_path: Where onnxruntime writes the graph.
        data_name: What the graph calls the file of initializers, relative to its own folder.
    """

    def __init__(self, n_bytes: int) -> None:
        """Make the files where about `n_bytes` fit.

        Raises:
            UnavailableError: They fit nowhere.
        """
        self._descriptors: list[int] = []
        self._folder: str | None = None
        place = place_for(n_bytes)
        try:
            for _ in range(2):
                self._descriptors.append(_open_nameless(place))
            self.graph_path = f"{_DESCRIPTORS}/{self._descriptors[0]}"
            self.data_name = str(self._descriptors[1])
            os.stat(self.graph_path)  # /proc may be missing
        except OSError:
            self.close()
            self._folder = tempfile.mkdtemp(prefix=f"inferonnx-{os.getpid()}-", dir=place)
            self.graph_path = os.path.join(self._folder, "graph")
            self.data_name = "data"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def graph(self) -> bytes:
        """Return what was written as graph."""
        with open(self.graph_path, "rb") as file:
            return file.read()

    def map_data(self) -> mmap.mmap | bytes:
        """Return a mapping of the initializers; it outlives this object."""
        path = os.path.join(os.path.dirname(self.graph_path), self.data_name)
        if not os.path.exists(path) or os.path.getsize(path) == 0:
            return b""
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        """Let the files go; mappings of them stay valid."""
        while self._descriptors:
            os.close(self._descriptors.pop())
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def _open_nameless(folder: str) -> int:
    """Return a descriptor of a new file without a name; OSError where there are none."""
    if not hasattr(os, "O_TMPFILE"):
        raise OSError("only Linux has nameless files")
    return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)


def place_for(n_bytes: int) -> str:
    """Return a folder with room for `n_bytes`: in memory if half of what is free suffices.

    Raises:
        UnavailableError: Neither memory nor the temporary folder has the room.
    """
    if os.path.isdir(_MEMORY_FOLDER) and os.access(_MEMORY_FOLDER, os.W_OK):
        free = min(shutil.disk_usage(_MEMORY_FOLDER).free, _available_memory_bytes())
        if n_bytes * 2 < free:
            return _MEMORY_FOLDER
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise UnavailableError(
            f"about {n_bytes} bytes are needed for a while, and {folder!r} has {free} free",
            where=folder,
            hint="Free some space, or set TMPDIR to a folder that has it.",
        )
    return folder


def _available_memory_bytes() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
