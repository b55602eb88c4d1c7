"""EfficientNetV2-L as PyTorch's exporter wrote torchvision's model (opset 18)."""

from __future__ import annotations

from dataclasses import dataclass

from inferonnx.zoo.graphs import Blueprint, Exporter
from inferonnx.zoo.torch import TorchBuilder

# torchvision's table: fused, expansion, stride of the first, output channels, repeats.
_STAGES = (
    (True, 1, 1, 32, 4),
    (True, 4, 2, 64, 7),
    (True, 4, 2, 96, 7),
    (False, 4, 2, 192, 10),
    (False, 6, 1, 224, 19),
    (False, 6, 2, 384, 25),
    (False, 6, 1, 640, 7),
)
# The numbers that the exporter gave are not known, only that they have four digits.
_OUTPUT = "1846"
_FIRST_WEIGHT = 1847


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """One block: where its modules are, its widths, and the share of its branch in the sum."""

    path: str
    n_in: int
    n_out: int
    expansion: int
    stride: int
    gain: float

    @property
    def wide(self) -> int:
        """Channels in the middle."""
        return self.expansion * self.n_in

    @property
    def module(self) -> str:
        """Name of the block in a checkpoint: "features.4.0"."""
        return "features" + self.path.rpartition("/features")[2]


class _V2(TorchBuilder):
    """Adds the blocks of EfficientNetV2; every normalisation is folded."""

    def silu(self, x: str, path: str) -> str:
        """Append x * sigmoid(x)."""
        return self.layer("Mul", [x, self.layer("Sigmoid", [x], path)], path)

    def conv_silu(
        self,
        x: str,
        path: str,
        channels: tuple[int, int],
        kernel: int,
        *,
        stride: int = 1,
        group: int = 1,
    ) -> str:
        """Append a Conv2dNormActivation, whose children are 0 (conv) and 2 (SiLU)."""
        child = f"{path}/{path.rpartition('/')[2]}"
        pad = kernel // 2
        x = self.conv(x, f"{child}.0", channels, kernel, stride=stride, pad=pad, group=group)
        return self.silu(x, f"{child}.2")

    def project(self, x: str, path: str, channels: tuple[int, int], gain: float) -> str:
        """Append the 1x1 convolution without activation that ends a block."""
        return self.conv(x, f"{path}/{path.rpartition('/')[2]}.0", channels, 1, gain=gain)

    def fused(self, x: str, block: _Block) -> str:
        """Append a Fused-MBConv without its residual Add."""
        inner = f"{block.path}/block/block"
        if block.expansion == 1:
            channels = (block.n_in, block.n_out)
            return self.conv_silu(x, f"{inner}.0", channels, 3, stride=block.stride)
        y = self.conv_silu(x, f"{inner}.0", (block.n_in, block.wide), 3, stride=block.stride)
        return self.project(y, f"{inner}.1", (block.wide, block.n_out), block.gain)

    def gated(self, x: str, block: _Block) -> str:
        """Append an MBConv without its residual Add."""
        inner = f"{block.path}/block/block"
        wide = block.wide
        y = self.conv_silu(x, f"{inner}.0", (block.n_in, wide), 1)
        y = self.conv_silu(y, f"{inner}.1", (wide, wide), 3, stride=block.stride, group=wide)
        y = self.squeeze_excite(y, f"{inner}.2", block)
        # Untrained gates stand near 0.5, a quarter of the variance.
        return self.project(y, f"{inner}.3", (wide, block.n_out), 4 * block.gain)

    def squeeze_excite(self, x: str, path: str, block: _Block) -> str:
        """Append a gate by channel, between 0 and 1."""
        narrow = max(1, block.n_in // 4)
        module = f"{block.module}.block.2"
        y = self.layer("GlobalAveragePool", [x], f"{path}/avgpool")
        y = self.conv(y, f"{path}/fc1", (block.wide, narrow), 1, module=f"{module}.fc1")
        y = self.silu(y, f"{path}/activation")
        y = self.conv(y, f"{path}/fc2", (narrow, block.wide), 1, module=f"{module}.fc2")
        y = self.layer("Sigmoid", [y], f"{path}/scale_activation")
        return self.layer("Mul", [y, x], path)


def v2_l() -> Blueprint:
    """Return efficientnet-v2-l-18."""
    exporter = Exporter(
        producer="pytorch",
        version="2.1.0",
        ir_version=8,
        opset=18,
        graph_name="main_graph",
        empty_domain=False,
    )
    g = _V2(exporter, first_number=_FIRST_WEIGHT)
    x = g.input("x", (1, 3, 224, 224))
    g.output(_OUTPUT, (1, 1000))
    x = g.conv_silu(x, "/features/features.0", (3, 32), 3, stride=2)
    n_in = 32
    for stage, (fused, expansion, first_stride, n_out, repeats) in enumerate(_STAGES, start=1):
        for repeat in range(repeats):
            block = _Block(
                path=f"/features/features.{stage}/features.{stage}.{repeat}",
                n_in=n_in,
                n_out=n_out,
                expansion=expansion,
                stride=first_stride if repeat == 0 else 1,
                gain=2.0 / repeats,
            )
            y = g.fused(x, block) if fused else g.gated(x, block)
            residual = block.stride == 1 and n_in == n_out
            x = g.layer("Add", [y, x], block.path) if residual else y
            n_in = n_out
    x = g.conv_silu(x, "/features/features.8", (n_in, 1280), 1)
    x = g.layer("GlobalAveragePool", [x], "/avgpool")
    x = g.layer("Flatten", [x], "", axis=1)
    g.gemm(x, "/classifier/classifier.1", "classifier.1", sizes=(1280, 1000), output=_OUTPUT)
    return g.finish()
