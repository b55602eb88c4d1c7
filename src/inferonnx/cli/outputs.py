"""Where `run` puts outputs: a file for one sample, a folder for several; a line each on stdout."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from inferonnx.app.host.inputs import check_destination, save_outputs
from inferonnx.cli.printing import printable
from inferonnx.runtime.whole_files import check_new_folder, whole_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack


class Outputs:
    """Writes and shows the outputs of samples as they come.

    Attributes:
        file: The file that is written for one sample; None for several, or for none.
    """

    def __init__(self, path: str | None, *, n_samples: int, shows: bool) -> None:
        """Refuse a place that can't hold them, before the model is opened.

        Args:
            path: `.npz`, `.npy` or `.pb` for one sample, a folder to be made for several;
                None writes nothing.
            n_samples: How many there will be.
            shows: Print a line for each output.

        Raises:
            UsageError, UnavailableError: As `app.host.inputs.check_destination` and
                `runtime.whole_files.check_new_folder`; `file` is still to be checked.
        """
        self.file = path if n_samples == 1 else None
        self._folder = path if n_samples > 1 else None
        self._path = path
        self._n_samples = n_samples
        self._shows = shows
        if path:
            check_destination(path, n_samples=n_samples, output_types=())
        if self._folder:
            check_new_folder(self._folder)

    def begin(self, types: Mapping[str, str], stack: ExitStack) -> None:
        """Refuse outputs of types that files can't hold; make the folder, if there is one.

        Args:
            types: Of the model's outputs by name, such as "tensor(float)".
            stack: When it ends without an error, the folder appears.
        """
        if self._path:
            check_destination(self._path, n_samples=self._n_samples, output_types=[*types.values()])
        if self._folder:
            self._folder = stack.enter_context(whole_folder(self._folder))

    def take(self, number: int, values: Mapping[str, Any]) -> None:
        """Write and show the outputs of a sample, tensors by name."""
        if self._folder:
            save_outputs(os.path.join(self._folder, f"{number}.npz"), values)
        elif self.file:
            save_outputs(self.file, values)
        if self._shows:
            head = f"sample {number}: " if self._n_samples > 1 else ""
            for name, value in values.items():
                print(printable(f"{head}{name}: {_summary(value)}"))


def _summary(value: Any) -> str:
    from inferonnx.tensors import DType, Tensor

    if not isinstance(value, Tensor):
        return f"{type(value).__name__} of {len(value)}"
    text = f"{value.dtype.onnx_name} {list(value.shape)}"
    if value.dtype is DType.FLOAT and value.n_elements:
        numbers = value.data.cast("f")
        largest = max(range(len(numbers)), key=numbers.__getitem__)
        return f"{text}, largest {numbers[largest]:.6g} at {largest}"
    if value.n_elements <= 8:
        return f"{text} {value.tolist()}"
    return text
