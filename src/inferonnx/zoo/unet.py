"""The classic U-Net with batch normalisation, 1024 channels at the bottom (opset 17)."""

from __future__ import annotations

from inferonnx.zoo.graphs import Blueprint, Exporter, GraphBuilder
from inferonnx.zoo.weights import he, uniform

_WIDTHS = (64, 128, 256, 512, 1024)


class _UNet(GraphBuilder):
    """Adds U-Net's layers; a value is called as its node."""

    def op(self, op_type: str, inputs: list[str], name: str, **attributes: object) -> str:
        """Append a node whose output is called as itself."""
        return self.node(op_type, inputs, name, name=name, **attributes)

    def norm_relu(self, x: str, name: str, n_channels: int) -> str:
        """Append BatchNormalization and Relu."""
        shape = (n_channels,)
        inputs = [
            x,
            self.weight(f"{name}.weight", shape, uniform(0.8, 1.2)),
            self.weight(f"{name}.bias", shape, uniform(-0.1, 0.1)),
            self.weight(f"{name}.running_mean", shape, uniform(-0.1, 0.1), trainable=False),
            self.weight(f"{name}.running_var", shape, uniform(0.8, 1.2), trainable=False),
        ]
        y = self.op("BatchNormalization", inputs, name, epsilon=1e-5, momentum=0.9)
        return self.op("Relu", [y], f"{name}/relu")

    def double_conv(self, x: str, name: str, n_in: int, n_out: int) -> str:
        """Append two 3x3 convolutions without bias, each normalised and activated."""
        for number, channels in enumerate((n_in, n_out), start=1):
            weight = self.weight(
                f"{name}.conv{number}.weight", (n_out, channels, 3, 3), he(channels * 9)
            )
            x = self.op(
                "Conv",
                [x, weight],
                f"{name}.conv{number}",
                kernel_shape=[3, 3],
                pads=[1, 1, 1, 1],
                strides=[1, 1],
            )
            x = self.norm_relu(x, f"{name}.norm{number}", n_out)
        return x

    def up(self, x: str, name: str, n_in: int) -> str:
        """Append the ConvTranspose that doubles the size and halves the channels."""
        n_out = n_in // 2
        # Stride 2 with a 2x2 kernel: every output sees each input channel once.
        weight = self.weight(f"{name}.weight", (n_in, n_out, 2, 2), he(n_in))
        bias = self.weight(f"{name}.bias", (n_out,), uniform(-0.1, 0.1))
        return self.op(
            "ConvTranspose", [x, weight, bias], name, kernel_shape=[2, 2], strides=[2, 2]
        )


def unet_1024() -> Blueprint:
    """Return unet-1024, for images whose height and width are multiples of 16."""
    g = _UNet(Exporter(producer="inferonnx", ir_version=8, opset=17, graph_name="unet-1024"))
    x = g.input("image", ("batch", 3, "height", "width"))
    g.output("logits", ("batch", 1, "height", "width"))
    skips = []
    n_in = 3
    for level, width in enumerate(_WIDTHS):
        if level:
            x = g.op("MaxPool", [x], f"down{level}.pool", kernel_shape=[2, 2], strides=[2, 2])
        x = g.double_conv(x, f"down{level}", n_in, width)
        skips.append(x)
        n_in = width
    for level in reversed(range(len(_WIDTHS) - 1)):
        width = _WIDTHS[level]
        x = g.up(x, f"up{level}.grow", 2 * width)
        x = g.op("Concat", [skips[level], x], f"up{level}.concat", axis=1)
        x = g.double_conv(x, f"up{level}", 2 * width, width)
    weight = g.weight("out.weight", (1, _WIDTHS[0], 1, 1), he(_WIDTHS[0], 1.0))
    bias = g.weight("out.bias", (1,), uniform(-0.1, 0.1))
    g.op("Conv", [x, weight, bias], "logits", kernel_shape=[1, 1])
    return g.finish()
