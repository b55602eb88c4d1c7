"""SqueezeNet and DenseNet-121 as Caffe2's exporter wrote them (opset 7, IR 3).

Caffe2 works in place; its exporter numbers what a blob held one after the other,
so the output of a Relu is the next number of the name that it overwrote. What the
exporter adds itself (Unsqueeze, for the broadcasting of old) is called OC2_DUMMY
and, alone among the nodes, has no name, not even an empty one. Structures and
attributes are those of the light graphs in the onnx wheel.
"""

from __future__ import annotations

from inferonnx.zoo.graphs import Blueprint, Exporter, GraphBuilder
from inferonnx.zoo.weights import Fill, full, he, uniform

_PRODUCER = "onnx-caffe2"


class _Caffe2(GraphBuilder):
    """Adds Caffe2's layers."""

    def __init__(self, graph_name: str) -> None:
        super().__init__(
            Exporter(
                producer=_PRODUCER,
                ir_version=3,
                opset=7,
                graph_name=graph_name,
                empty_node_names=True,
                weights_are_inputs=True,
            )
        )
        self._n_dummies = 0

    def broadcast(self, vector: str) -> str:
        """Append the Unsqueeze that turns (channels) into (channels, 1, 1)."""
        output = f"OC2_DUMMY_{self._n_dummies}"
        self._n_dummies += 1
        return self.node("Unsqueeze", [vector], output, name=None, axes=[1, 2])

    def conv(
        self,
        x: str,
        name: str,
        channels: tuple[int, int],
        kernel: int,
        *,
        stride: int = 1,
        pad: int = 0,
        bias: bool = True,
        gain: float = 2.0,
    ) -> str:
        """Append a convolution from `channels[0]` to `channels[1]` channels."""
        n_in, n_out = channels
        fill = he(n_in * kernel * kernel, gain)
        inputs = [x, self.weight(f"{name}_w_0", (n_out, n_in, kernel, kernel), fill)]
        if bias:
            inputs.append(self.weight(f"{name}_b_0", (n_out,), uniform(-0.1, 0.1)))
        return self.node(
            "Conv",
            inputs,
            f"{name}_1",
            kernel_shape=[kernel, kernel],
            pads=[pad] * 4,
            strides=[stride, stride],
        )

    def pool(
        self, op_type: str, x: str, output: str, kernel: int, *, stride: int = 2, pad: int = 0
    ) -> str:
        """Append a pooling operator."""
        return self.node(
            op_type,
            [x],
            output,
            kernel_shape=[kernel, kernel],
            pads=[pad] * 4,
            strides=[stride, stride],
        )


def squeezenet() -> Blueprint:
    """Return squeezenet1.0-7, whose topology is that of SqueezeNet 1.1."""
    g = _Caffe2("squeezenet_old")
    x = g.input("data_0", (1, 3, 224, 224))
    g.output("softmaxout_1", (1, 1000, 1, 1))

    def conv_relu(
        x: str, name: str, channels: tuple[int, int], kernel: int, *, stride: int = 1, pad: int = 0
    ) -> str:
        g.conv(x, name, channels, kernel, stride=stride, pad=pad)
        return g.node("Relu", [f"{name}_1"], f"{name}_2")

    x = conv_relu(x, "conv1", (3, 64), 3, stride=2)
    x = g.pool("MaxPool", x, "pool1_1", 3)
    n_in = 64
    fires = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
    for number, (squeeze, expand) in enumerate(fires, start=2):
        fire = f"fire{number}"
        squeezed = conv_relu(x, f"{fire}/squeeze1x1", (n_in, squeeze), 1)
        one = conv_relu(squeezed, f"{fire}/expand1x1", (squeeze, expand), 1)
        three = conv_relu(squeezed, f"{fire}/expand3x3", (squeeze, expand), 3, pad=1)
        x = g.node("Concat", [one, three], f"{fire}/concat_1", axis=1)
        if number in {3, 5}:
            x = g.pool("MaxPool", x, f"pool{number}_1", 3)
        n_in = 2 * expand
    x = g.node("Dropout", [x], ["fire9/concat_2", "_fire9/concat_mask_1"], ratio=0.5)
    # A Softmax over 1,000 logits of deviation 30 would answer 1 for one class and 0 for all others.
    g.conv(x, "conv10", (n_in, 1000), 1, gain=0.02)
    x = g.node("Relu", ["conv10_1"], "conv10_2")
    x = g.node("GlobalAveragePool", [x], "pool10_1")
    g.node("Softmax", [x], "softmaxout_1")
    return g.finish()


def densenet() -> Blueprint:
    """Return densenet-7: DenseNet-121, its scale layers spelled out behind every normalisation."""
    g = _Caffe2("densenet121")
    x = g.input("data_0", (1, 3, 224, 224))
    g.output("fc6_1", (1, 1000, 1, 1))
    # The artifact's samples have deviation 10, so the first convolution's have 14 (variance 200).
    x = g.conv(x, "conv1", (3, 64), 7, stride=2, pad=3, bias=False)
    x = _scaled_norm(g, x, "conv1", 64, variance=200.0)
    x = g.pool("MaxPool", x, "pool1_1", 3, pad=1)
    n_channels = 64
    for block, n_layers in enumerate((6, 12, 24, 16), start=2):
        for layer in range(1, n_layers + 1):
            path = f"conv{block}_{layer}"
            y = _scaled_norm(g, x, f"{path}/x1", n_channels)
            y = g.conv(y, f"{path}/x1", (n_channels, 128), 1, bias=False)
            y = _scaled_norm(g, y, f"{path}/x2", 128)
            y = g.conv(y, f"{path}/x2", (128, 32), 3, pad=1, bias=False)
            x = g.node("Concat", [x, y], f"concat_{block}_{layer}_1", axis=1)
            n_channels += 32
        x = _scaled_norm(g, x, f"conv{block}_blk", n_channels)
        if block < 5:
            x = g.conv(x, f"conv{block}_blk", (n_channels, n_channels // 2), 1, bias=False)
            n_channels //= 2
            x = g.pool("AveragePool", x, f"pool{block}_1", 2)
    x = g.node("GlobalAveragePool", [x], "pool5_1")
    g.conv(x, "fc6", (n_channels, 1000), 1)
    return g.finish()


def _scaled_norm(g: _Caffe2, x: str, path: str, n_channels: int, *, variance: float = 1.0) -> str:
    """Append BatchNormalization, a scale and a shift by channel, and Relu."""
    bn = f"{path}/bn"

    def vector(kind: str, fill: Fill, *, trainable: bool = True) -> str:
        return g.weight(f"{bn}_{kind}_0", (n_channels,), fill, trainable=trainable)

    scale = vector("scale", full(1.0), trainable=False)
    bias = vector("bias", full(0.0), trainable=False)
    mean = vector("mean", uniform(-0.1, 0.1), trainable=False)
    var = vector("var", uniform(0.8 * variance, 1.2 * variance), trainable=False)
    # 1e-5 as float32 has it, which is what the published file says.
    g.node(
        "BatchNormalization", [x, scale, bias, mean, var], f"{bn}_1", epsilon=9.999999747378752e-06
    )
    w = g.broadcast(vector("w", uniform(0.8, 1.2)))
    g.node("Mul", [f"{bn}_1", w], f"{bn}_internal_1")
    b = g.broadcast(vector("b", uniform(-0.1, 0.1)))
    g.node("Add", [f"{bn}_internal_1", b], f"{bn}_2")
    return g.node("Relu", [f"{bn}_2"], f"{bn}_3")
