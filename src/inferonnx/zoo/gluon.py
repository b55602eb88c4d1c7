"""ResNet v2, MobileNet v2 and VGG as MXNet's exporter wrote Gluon's models (opset 7, IR 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.zoo.graphs import Blueprint, Exporter, GraphBuilder
from inferonnx.zoo.weights import Fill, he, uniform

if TYPE_CHECKING:
    from collections.abc import Sequence

_IMAGE = (1, 3, 224, 224)


class _Gluon(GraphBuilder):
    """Adds Gluon's layers; a layer's output is called as its node, and ends in `_fwd`."""

    def __init__(self, prefix: str, graph_name: str = "main") -> None:
        super().__init__(
            Exporter(
                ir_version=3,
                opset=7,
                graph_name=graph_name,
                empty_domain=False,
                weights_are_inputs=True,
            )
        )
        self._prefix = prefix

    def layer(self, op_type: str, inputs: Sequence[str], name: str, **attributes: object) -> str:
        """Append a node whose output has its own name."""
        name = f"{self._prefix}_{name}"
        return self.node(op_type, inputs, name, name=name, **attributes)

    def parameter(self, name: str, shape: tuple[int, ...], fill: Fill, **kw: bool) -> str:
        """Declare a weight under the model's prefix."""
        return self.weight(f"{self._prefix}_{name}", shape, fill, **kw)

    def conv(
        self,
        x: str,
        name: str,
        channels: tuple[int, int],
        kernel: int,
        *,
        stride: int = 1,
        pad: int = 0,
        group: int = 1,
        bias: bool = False,
        gain: float = 2.0,
    ) -> str:
        """Append a convolution from `channels[0]` to `channels[1]` channels."""
        n_in, n_out = channels[0] // group, channels[1]
        fill = he(n_in * kernel * kernel, gain)
        inputs = [x, self.parameter(f"{name}_weight", (n_out, n_in, kernel, kernel), fill)]
        if bias:
            inputs.append(self.parameter(f"{name}_bias", (n_out,), uniform(-0.1, 0.1)))
        return self.layer(
            "Conv",
            inputs,
            f"{name}_fwd",
            dilations=[1, 1],
            group=group,
            kernel_shape=[kernel, kernel],
            pads=[pad] * 4,
            strides=[stride, stride],
        )

    def norm(
        self,
        x: str,
        name: str,
        n_channels: int,
        *,
        mean: tuple[float, float] = (-0.1, 0.1),
        var: tuple[float, float] = (0.8, 1.2),
        gamma: tuple[float, float] = (0.8, 1.2),
    ) -> str:
        """Append a BatchNormalization; the pairs are the ranges of its numbers."""
        shape = (n_channels,)
        inputs = [
            x,
            self.parameter(f"{name}_gamma", shape, uniform(*gamma)),
            self.parameter(f"{name}_beta", shape, uniform(-0.1, 0.1)),
            self.parameter(f"{name}_running_mean", shape, uniform(*mean), trainable=False),
            self.parameter(f"{name}_running_var", shape, uniform(*var), trainable=False),
        ]
        return self.layer(
            "BatchNormalization", inputs, f"{name}_fwd", epsilon=1e-5, momentum=0.9, spatial=1
        )

    def max_pool(self, x: str, name: str, kernel: int, *, pad: int = 0) -> str:
        """Append a MaxPool of stride 2."""
        return self.layer(
            "MaxPool", [x], name, kernel_shape=[kernel] * 2, pads=[pad] * 4, strides=[2, 2]
        )

    def flatten(self, x: str, name: str, shape_name: str) -> str:
        """Append the Reshape to (batch, rest), its shape a tensor as of opset 5."""
        return self.layer("Reshape", [x, self.integers(shape_name, [0, -1])], name)

    def dense(self, x: str, name: str, sizes: tuple[int, int], *, gain: float = 1.0) -> str:
        """Append a fully connected layer from `sizes[0]` to `sizes[1]` features."""
        n_in, n_out = sizes
        weight = self.parameter(f"{name}_weight", (n_out, n_in), he(n_in, gain))
        bias = self.parameter(f"{name}_bias", (n_out,), uniform(-0.1, 0.1))
        return self.layer(
            "Gemm", [x, weight, bias], f"{name}_fwd", alpha=1.0, beta=1.0, transA=0, transB=1
        )


def resnet101() -> Blueprint:
    """Return resnet101-v2-7."""
    return resnet("resnetv25", (3, 4, 23, 3), "reshape_attr_tensor855")


def resnet152() -> Blueprint:
    """Return resnet152-v2-7."""
    return resnet("resnetv27", (3, 8, 36, 3), "reshape_attr_tensor1280")


def resnet(prefix: str, depths: Sequence[int], shape_name: str) -> Blueprint:
    """Return a pre-activation ResNet of bottlenecks, `depths[i]` of them in stage i."""
    g = _Gluon(prefix)
    x = g.input("data", _IMAGE)
    g.output(f"{prefix}_dense0_fwd", (1, 1000))
    # Samples are raw pixels, 0 to 255: what the first normalisation would have learned.
    x = g.norm(x, "batchnorm0", 3, mean=(119.0, 121.0), var=(4800.0, 5000.0))
    x = g.conv(x, "conv0", (3, 64), 7, stride=2, pad=3)
    x = g.norm(x, "batchnorm1", 64)
    x = g.layer("Relu", [x], "relu0_fwd")
    x = g.max_pool(x, "pool0_fwd", 3, pad=1)
    n_in = 64
    for number, n_blocks in enumerate(depths, start=1):
        width = 128 << number
        stride = 1 if number == 1 else 2
        x = _resnet_stage(g, x, f"stage{number}_", (n_in, width), n_blocks=n_blocks, stride=stride)
        n_in = width
    x = g.norm(x, "batchnorm2", n_in)
    x = g.layer("Relu", [x], "relu1_fwd")
    x = g.layer("GlobalAveragePool", [x], "pool1_fwd")
    x = g.flatten(x, "flatten0_reshape0", shape_name)
    g.dense(x, "dense0", (n_in, 1000))
    return g.finish()


def _resnet_stage(
    g: _Gluon, x: str, stage: str, channels: tuple[int, int], *, n_blocks: int, stride: int
) -> str:
    """Append one stage; only its first block changes width and size."""
    n_in, width = channels
    middle = width // 4
    n_convs = n_norms = 0

    def conv(
        x: str, sizes: tuple[int, int], kernel: int, *, step: int = 1, gain: float = 2.0
    ) -> str:
        nonlocal n_convs
        n_convs += 1
        name = f"{stage}conv{n_convs - 1}"
        return g.conv(x, name, sizes, kernel, stride=step, pad=kernel // 2, gain=gain)

    def activate(x: str, n_channels: int) -> str:
        nonlocal n_norms
        n_norms += 1
        x = g.norm(x, f"{stage}batchnorm{n_norms - 1}", n_channels)
        return g.layer("Relu", [x], f"{stage}activation{n_norms - 1}")

    for block in range(n_blocks):
        first = block == 0
        a = activate(x, n_in if first else width)
        y = conv(a, (n_in if first else width, middle), 1)
        y = conv(activate(y, middle), (middle, middle), 3, step=stride if first else 1)
        # Branches add up: each gets its share, or the sum would grow with the depth.
        y = conv(activate(y, middle), (middle, width), 1, gain=2.0 / n_blocks)
        shortcut = conv(a, (n_in, width), 1, step=stride) if first else x
        x = g.layer("Add", [y, shortcut], f"{stage}_plus{block}")
    return x


# Gluon's table of linear bottlenecks: output channels, expansion, stride.
_BOTTLENECKS = (
    (16, 1, 1),
    *((24, 6, s) for s in (2, 1)),
    *((32, 6, s) for s in (2, 1, 1)),
    *((64, 6, s) for s in (2, 1, 1, 1)),
    *((96, 6, s) for s in (1, 1, 1)),
    *((160, 6, s) for s in (2, 1, 1)),
    (320, 6, 1),
)


def mobilenet() -> Blueprint:
    """Return mobilenetv2-7, whose activation is Relu and whose first block keeps its 1x1 conv."""
    g = _Gluon("mobilenetv20")
    x = g.input("data", _IMAGE)
    g.output("mobilenetv20_output_flatten0_reshape0", (1, 1000))
    # Samples are raw pixels: their mean square is about 21,000, and the next layers want 1 to 2.
    x = g.conv(x, "features_conv0", (3, 32), 3, stride=2, pad=1, gain=2.0 / 12000)
    x = g.norm(x, "features_batchnorm0", 32)
    x = g.layer("Relu", [x], "features_relu0_fwd")
    n_in = 32
    for number, (n_out, expansion, stride) in enumerate(_BOTTLENECKS):
        block = f"features_linearbottleneck{number}_"
        x = _bottleneck(g, x, block, (n_in, n_out), expansion=expansion, stride=stride)
        n_in = n_out
    x = g.conv(x, "features_conv1", (n_in, 1280), 1)
    x = g.norm(x, "features_batchnorm1", 1280)
    x = g.layer("Relu", [x], "features_relu1_fwd")
    x = g.layer("GlobalAveragePool", [x], "features_pool0_fwd")
    x = g.conv(x, "output_pred", (1280, 1000), 1, gain=1.0)
    g.flatten(x, "output_flatten0_reshape0", "reshape_attr_tensor421")
    return g.finish()


def _bottleneck(
    g: _Gluon, x: str, block: str, channels: tuple[int, int], *, expansion: int, stride: int
) -> str:
    """Append one linear bottleneck: widen, filter each channel by itself, project."""
    n_in, n_out = channels
    wide = n_in * expansion
    residual = stride == 1 and n_in == n_out
    y = g.conv(x, f"{block}conv0", (n_in, wide), 1)
    y = g.norm(y, f"{block}batchnorm0", wide)
    y = g.layer("Relu", [y], f"{block}relu0_fwd")
    y = g.conv(y, f"{block}conv1", (wide, wide), 3, stride=stride, pad=1, group=wide)
    y = g.norm(y, f"{block}batchnorm1", wide)
    y = g.layer("Relu", [y], f"{block}relu1_fwd")
    y = g.conv(y, f"{block}conv2", (wide, n_out), 1)
    y = g.norm(y, f"{block}batchnorm2", n_out, gamma=(0.4, 0.6) if residual else (0.8, 1.2))
    return g.layer("Add", [y, x], f"{block}elemwise_add0") if residual else y


def vgg16() -> Blueprint:
    """Return vgg16-7, whose first fully connected layer holds 411 MB."""
    g = _Gluon("vgg0", "mxnet_converted_model")
    x = g.input("data", _IMAGE)
    g.output("vgg0_dense2_fwd", (1, 1000))
    n_in = n_convs = 0
    for group, (n_layers, width) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))):
        for _ in range(n_layers):
            # Raw pixels again: the first layer brings them down.
            channels, gain = ((n_in, width), 2.0) if n_in else ((3, width), 2.0 / 12000)
            x = g.conv(x, f"conv{n_convs}", channels, 3, pad=1, bias=True, gain=gain)
            x = g.layer("Relu", [x], f"relu{n_convs}_fwd")
            n_in = width
            n_convs += 1
        x = g.max_pool(x, f"pool{group}_fwd", 2)
    n_features = 512 * 7 * 7
    for number, flatten in enumerate(("flatten_60", "flatten_65")):
        x = g.node("Flatten", [x], flatten, name=flatten)
        x = g.dense(x, f"dense{number}", (n_features, 4096), gain=2.0)
        x = g.layer("Relu", [x], f"dense{number}_relu_fwd")
        x = g.layer("Dropout", [x], f"dropout{number}_fwd", ratio=0.5)
        n_features = 4096
    x = g.node("Flatten", [x], "flatten_70", name="flatten_70")
    g.dense(x, "dense2", (n_features, 1000))
    return g.finish()
