"""Inception v3 as PyTorch's exporter writes it, with timm's layer names (opset 12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.zoo.graphs import Blueprint, Exporter
from inferonnx.zoo.torch import TorchBuilder

if TYPE_CHECKING:
    from collections.abc import Sequence

# One convolution of a branch: name, output channels, kernel, padding, stride.
_Conv = tuple[str, int, tuple[int, int], tuple[int, int], int]


class _Inception(TorchBuilder):
    """Adds convolutions with Relu, and the branches made of them."""

    def conv_relu(self, x: str, path: str, n_in: int, conv: _Conv) -> str:
        """Append one convolution; its normalisation is folded, its Relu belongs to that."""
        name, n_out, kernel, pad, stride = conv
        x = self.conv(x, f"{path}/{name}/conv", (n_in, n_out), kernel, stride=stride, pad=pad)
        return self.layer("Relu", [x], f"{path}/{name}/bn/act")

    def branch(self, x: str, path: str, n_in: int, convs: Sequence[_Conv]) -> str:
        """Append convolutions one behind the other."""
        for conv in convs:
            x = self.conv_relu(x, path, n_in, conv)
            n_in = conv[1]
        return x

    def max_pool(self, x: str, path: str) -> str:
        """Append a MaxPool 3x3 of stride 2."""
        return self.layer(
            "MaxPool",
            [x],
            path,
            ceil_mode=0,
            dilations=[1, 1],
            kernel_shape=[3, 3],
            pads=[0, 0, 0, 0],
            strides=[2, 2],
        )

    def average_pool(self, x: str, path: str) -> str:
        """Append an AveragePool 3x3 that keeps the size and counts its padding."""
        return self.layer(
            "AveragePool",
            [x],
            path,
            ceil_mode=0,
            count_include_pad=1,
            kernel_shape=[3, 3],
            pads=[1, 1, 1, 1],
            strides=[1, 1],
        )

    def concat(self, values: Sequence[str], path: str) -> str:
        """Append the Concat over channels that ends a block."""
        return self.layer("Concat", values, path, axis=1)


def _same(name: str, n_out: int, height: int, width: int | None = None) -> _Conv:
    """Return a convolution of stride 1 that keeps the size; square if `width` is left out."""
    width = height if width is None else width
    return name, n_out, (height, width), (height // 2, width // 2), 1


def _valid(name: str, n_out: int, kernel: int, stride: int) -> _Conv:
    """Return a square convolution without padding."""
    return name, n_out, (kernel, kernel), (0, 0), stride


def inception_v3() -> Blueprint:
    """Return inception-v3-12: evaluation mode, no auxiliary head, normalisations folded."""
    exporter = Exporter(
        producer="pytorch",
        # Which release it was is not known; the size of the file leaves room for three letters.
        version="2.1",
        ir_version=7,
        opset=12,
        graph_name="main_graph",
        empty_domain=False,
    )
    g = _Inception(exporter, first_number=471)
    x = g.input("data", (1, 3, 299, 299))
    g.output("470", (1, 1000))
    x = g.conv_relu(x, "", 3, _valid("Conv2d_1a_3x3", 32, 3, 2))
    x = g.conv_relu(x, "", 32, _valid("Conv2d_2a_3x3", 32, 3, 1))
    x = g.conv_relu(x, "", 32, _same("Conv2d_2b_3x3", 64, 3))
    x = g.max_pool(x, "/Pool1")
    x = g.conv_relu(x, "", 64, _valid("Conv2d_3b_1x1", 80, 1, 1))
    x = g.conv_relu(x, "", 80, _valid("Conv2d_4a_3x3", 192, 3, 1))
    x = g.max_pool(x, "/Pool2")
    n_in = 192
    for block, n_pool in (("5b", 32), ("5c", 64), ("5d", 64)):
        x = _block_a(g, x, f"/Mixed_{block}", n_in, n_pool)
        n_in = 224 + n_pool
    x = _block_b(g, x, "/Mixed_6a")
    for block, n_middle in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        x = _block_c(g, x, f"/Mixed_{block}", n_middle)
    x = _block_d(g, x, "/Mixed_7a")
    for block, n_in in (("7b", 1280), ("7c", 2048)):
        x = _block_e(g, x, f"/Mixed_{block}", n_in)
    x = g.layer("GlobalAveragePool", [x], "/global_pool/pool")
    x = g.layer("Flatten", [x], "/global_pool/flatten", axis=1)
    g.gemm(x, "/fc", "fc", sizes=(2048, 1000), output="470")
    return g.finish()


def _block_a(g: _Inception, x: str, path: str, n_in: int, n_pool: int) -> str:
    """Append a block of 1x1, 5x5 and twice 3x3 (35 by 35)."""
    branches = [
        g.branch(x, path, n_in, [_same("branch1x1", 64, 1)]),
        g.branch(x, path, n_in, [_same("branch5x5_1", 48, 1), _same("branch5x5_2", 64, 5)]),
        g.branch(
            x,
            path,
            n_in,
            [
                _same("branch3x3dbl_1", 64, 1),
                _same("branch3x3dbl_2", 96, 3),
                _same("branch3x3dbl_3", 96, 3),
            ],
        ),
        g.branch(g.average_pool(x, path), path, n_in, [_same("branch_pool", n_pool, 1)]),
    ]
    return g.concat(branches, path)


def _block_b(g: _Inception, x: str, path: str) -> str:
    """Append the reduction from 35 by 35 to 17 by 17."""
    double = [
        _same("branch3x3dbl_1", 64, 1),
        _same("branch3x3dbl_2", 96, 3),
        _valid("branch3x3dbl_3", 96, 3, 2),
    ]
    branches = [
        g.branch(x, path, 288, [_valid("branch3x3", 384, 3, 2)]),
        g.branch(x, path, 288, double),
        g.max_pool(x, path),
    ]
    return g.concat(branches, path)


def _block_c(g: _Inception, x: str, path: str, n_middle: int) -> str:
    """Append a block of 1x7 and 7x1 (17 by 17), `n_middle` channels wide inside."""
    single = [
        _same("branch7x7_1", n_middle, 1),
        _same("branch7x7_2", n_middle, 1, 7),
        _same("branch7x7_3", 192, 7, 1),
    ]
    double = [
        _same("branch7x7dbl_1", n_middle, 1),
        _same("branch7x7dbl_2", n_middle, 7, 1),
        _same("branch7x7dbl_3", n_middle, 1, 7),
        _same("branch7x7dbl_4", n_middle, 7, 1),
        _same("branch7x7dbl_5", 192, 1, 7),
    ]
    branches = [
        g.branch(x, path, 768, [_same("branch1x1", 192, 1)]),
        g.branch(x, path, 768, single),
        g.branch(x, path, 768, double),
        g.branch(g.average_pool(x, path), path, 768, [_same("branch_pool", 192, 1)]),
    ]
    return g.concat(branches, path)


def _block_d(g: _Inception, x: str, path: str) -> str:
    """Append the reduction from 17 by 17 to 8 by 8."""
    seven = [
        _same("branch7x7x3_1", 192, 1),
        _same("branch7x7x3_2", 192, 1, 7),
        _same("branch7x7x3_3", 192, 7, 1),
        _valid("branch7x7x3_4", 192, 3, 2),
    ]
    branches = [
        g.branch(x, path, 768, [_same("branch3x3_1", 192, 1), _valid("branch3x3_2", 320, 3, 2)]),
        g.branch(x, path, 768, seven),
        g.max_pool(x, path),
    ]
    return g.concat(branches, path)


def _block_e(g: _Inception, x: str, path: str, n_in: int) -> str:
    """Append a block whose 3x3 branches fork into 1x3 and 3x1 (8 by 8)."""
    one = g.branch(x, path, n_in, [_same("branch1x1", 320, 1)])
    three = g.branch(x, path, n_in, [_same("branch3x3_1", 384, 1)])
    three_fork = _fork(g, three, path, 384, "branch3x3_2")
    double = g.branch(
        x, path, n_in, [_same("branch3x3dbl_1", 448, 1), _same("branch3x3dbl_2", 384, 3)]
    )
    double_fork = _fork(g, double, path, 384, "branch3x3dbl_3")
    pool = g.branch(g.average_pool(x, path), path, n_in, [_same("branch_pool", 192, 1)])
    return g.concat([one, *three_fork, *double_fork, pool], path)


def _fork(g: _Inception, x: str, path: str, n_in: int, name: str) -> list[str]:
    """Append a 1x3 and a 3x1 convolution side by side and return both outputs."""
    return [
        g.branch(x, path, n_in, [_same(f"{name}a", 384, 1, 3)]),
        g.branch(x, path, n_in, [_same(f"{name}b", 384, 3, 1)]),
    ]
