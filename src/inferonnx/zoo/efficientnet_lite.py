"""EfficientNet-Lite4 as tf2onnx wrote it: channels last outside, first inside (opset 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.zoo.graphs import Blueprint, Exporter, GraphBuilder
from inferonnx.zoo.weights import full, he, uniform

if TYPE_CHECKING:
    from collections.abc import Sequence

# The table of Lite4: expansion, kernel, stride of the first, output channels, repeats.
_STAGES = (
    (1, 3, 1, 24, 1),
    (6, 3, 2, 32, 4),
    (6, 5, 2, 56, 4),
    (6, 3, 2, 112, 6),
    (6, 5, 1, 160, 6),
    (6, 5, 2, 272, 8),
    (6, 3, 1, 448, 1),
)
_MODEL = "efficientnet-lite4/model"
_NORM = "tpu_batch_normalization"


class _Lite(GraphBuilder):
    """Adds TensorFlow's layers after their normalisations were folded."""

    def layer(self, op_type: str, inputs: Sequence[str], name: str, **attributes: object) -> str:
        """Append a node of the model, whose output TensorFlow calls `name:0`."""
        name = f"{_MODEL}/{name}"
        return self.node(op_type, inputs, f"{name}:0", name=name, **attributes)

    def conv(
        self,
        x: str,
        layer: str,
        channels: tuple[int, int],
        kernel: int,
        *,
        norm: str = _NORM,
        stride: int = 1,
        group: int = 1,
        gain: float = 2.0,
    ) -> str:
        """Append a convolution with TensorFlow's SAME padding, uneven where it halves.

        Args:
            x: Value read, (batch, channels, height, width).
            layer: Scope and layer, "stem/conv2d/Conv2D".
            channels: Channels in and out.
            kernel: Height and width.
            norm: The normalisation folded in, which gives the output its name.
            stride: Of both axes.
            group: Number of groups.
            gain: Variance of the weights times the inputs of one output.
        """
        n_in, n_out = channels[0] // group, channels[1]
        name = f"{_MODEL}/{layer}"
        fill = he(n_in * kernel * kernel, gain)
        weight = self.weight(f"{name}_weights_fused_bn", (n_out, n_in, kernel, kernel), fill)
        bias = self.weight(f"{name}_bias_fused_bn", (n_out,), uniform(-0.1, 0.1))
        before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        return self.node(
            "Conv",
            [x, weight, bias],
            f"{_MODEL}/{layer.partition('/')[0]}/{norm}/FusedBatchNormV3:0",
            name=name,
            dilations=[1, 1],
            group=group,
            kernel_shape=[kernel, kernel],
            pads=[before, before, after, after],
            strides=[stride, stride],
        )

    def relu6(self, x: str, name: str) -> str:
        """Append a Clip to 0 to 6; both limits are tensors, as of opset 11."""
        return self.layer("Clip", [x, "Const__0", "Const__6"], name)

    def block(
        self,
        x: str,
        scope: str,
        channels: tuple[int, int],
        kernel: int,
        *,
        expansion: int,
        stride: int,
    ) -> str:
        """Append an inverted bottleneck, with its residual Add where the shapes allow it."""
        n_in, n_out = channels
        wide = n_in * expansion
        widens = expansion > 1
        second, third = ("_1", "_2") if widens else ("", "_1")
        y = x
        if widens:
            y = self.conv(y, f"{scope}/conv2d/Conv2D", (n_in, wide), 1)
            y = self.relu6(y, f"{scope}/Relu6")
        y = self.conv(
            y,
            f"{scope}/depthwise_conv2d/depthwise",
            (wide, wide),
            kernel,
            norm=_NORM + second,
            stride=stride,
            group=wide,
        )
        y = self.relu6(y, f"{scope}/Relu6{second}")
        residual = stride == 1 and n_in == n_out
        y = self.conv(
            y,
            f"{scope}/conv2d{second}/Conv2D",
            (wide, n_out),
            1,
            norm=_NORM + third,
            # Branches add up; they have to stay the smaller part.
            gain=0.6 if residual else 2.0,
        )
        return self.layer("Add", [y, x], f"{scope}/Add") if residual else y

    def head(self, x: str) -> str:
        """Append the classifier: (batch, 1280, 7, 7) to (batch, 1000)."""
        x = self.layer(
            "AveragePool",
            [x],
            "head/average_pooling2d/AvgPool",
            kernel_shape=[7, 7],
            pads=[0, 0, 0, 0],
            strides=[1, 1],
        )
        x = self.layer("Squeeze", [x], "head/Squeeze", axes=[2, 3])
        dense = f"{_MODEL}/head/dense"
        kernel = self.weight(f"{dense}/MatMul/ReadVariableOp:0", (1280, 1000), he(1280, 1.0))
        x = self.layer("MatMul", [x, kernel], "head/dense/MatMul")
        bias = self.weight(f"{dense}/BiasAdd/ReadVariableOp:0", (1000,), uniform(-0.1, 0.1))
        x = self.layer("Add", [x, bias], "head/dense/BiasAdd")
        return self.node("Softmax", [x], "Softmax:0", name="Softmax", axis=1)


def lite4() -> Blueprint:
    """Return efficientnet-lite4-11, which takes its pictures channels last."""
    g = _Lite(
        Exporter(producer="tf2onnx", version="1.6.0", ir_version=6, opset=11, graph_name="tf2onnx")
    )
    x = g.input("images:0", (1, 224, 224, 3))
    g.output("Softmax:0", (1, 1000))
    g.weight("Const__0", (), full(0.0), trainable=False)
    g.weight("Const__6", (), full(6.0), trainable=False)
    x = g.layer("Transpose", [x], "stem/conv2d/Conv2D__5", perm=[0, 3, 1, 2])
    x = g.conv(x, "stem/conv2d/Conv2D", (3, 32), 3, stride=2)
    x = g.relu6(x, "stem/Relu6")
    n_in = 32
    number = 0
    for expansion, kernel, first_stride, n_out, repeats in _STAGES:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            scope = f"blocks_{number}"
            x = g.block(x, scope, (n_in, n_out), kernel, expansion=expansion, stride=stride)
            n_in = n_out
            number += 1
    x = g.conv(x, "head/conv2d/Conv2D", (n_in, 1280), 1)
    x = g.relu6(x, "head/Relu6")
    g.head(x)
    return g.finish()
