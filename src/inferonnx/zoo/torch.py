"""What PyTorch's exporter does the same in every model, for those that came from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.zoo.graphs import Exporter, GraphBuilder
from inferonnx.zoo.weights import he, uniform

if TYPE_CHECKING:
    from collections.abc import Sequence


class TorchBuilder(GraphBuilder):
    """Adds layers named by module path: node `/a/a.0/Conv`, output `/a/a.0/Conv_output_0`.

    Where a normalisation was folded into a convolution the exporter numbers the
    two new tensors (`onnx::Conv_1234`); the others keep their module's name.
    """

    def __init__(self, exporter: Exporter, first_number: int) -> None:
        super().__init__(exporter)
        self._number = first_number

    def layer(self, op_type: str, inputs: Sequence[str], path: str, **attributes: object) -> str:
        """Append a node of the module at `path`, for example "/features/features.0"."""
        name = f"{path}/{op_type}"
        return self.node(op_type, inputs, f"{name}_output_0", name=name, **attributes)

    def conv(
        self,
        x: str,
        path: str,
        channels: tuple[int, int],
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        pad: int | tuple[int, int] = 0,
        group: int = 1,
        gain: float = 2.0,
        module: str | None = None,
    ) -> str:
        """Append a convolution with bias.

        Args:
            x: Value read, (batch, channels, height, width).
            path: Module path of the node.
            channels: Channels in and out.
            kernel: Height and width, or one number for both.
            stride: Of both axes.
            pad: At both ends of height and width, or one number for both axes.
            group: Number of groups.
            gain: Variance of the weights times the inputs of one output.
            module: Prefix of the weights' names; None: folded, so numbered.
        """
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        pads = (pad, pad) if isinstance(pad, int) else pad
        n_in, n_out = channels[0] // group, channels[1]
        names = (f"{module}.weight", f"{module}.bias") if module else self._next_numbers()
        weight = self.weight(
            names[0], (n_out, n_in, height, width), he(n_in * height * width, gain)
        )
        bias = self.weight(names[1], (n_out,), uniform(-0.1, 0.1))
        return self.layer(
            "Conv",
            [x, weight, bias],
            path,
            dilations=[1, 1],
            group=group,
            kernel_shape=[height, width],
            pads=[*pads, *pads],
            strides=[stride, stride],
        )

    def gemm(self, x: str, path: str, module: str, *, sizes: tuple[int, int], output: str) -> str:
        """Append the last fully connected layer, whose output is the graph's."""
        n_in, n_out = sizes
        weight = self.weight(f"{module}.weight", (n_out, n_in), he(n_in, 1.0))
        bias = self.weight(f"{module}.bias", (n_out,), uniform(-0.1, 0.1))
        return self.node(
            "Gemm", [x, weight, bias], output, name=f"{path}/Gemm", alpha=1.0, beta=1.0, transB=1
        )

    def _next_numbers(self) -> tuple[str, str]:
        """Return the names of the next two folded tensors, numbered three apart as torch does."""
        number, self._number = self._number, self._number + 3
        return f"onnx::Conv_{number}", f"onnx::Conv_{number + 1}"
