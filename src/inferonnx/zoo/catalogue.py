"""The table of models that can be built: what was published, and what ours must agree with.

Everything else in this room is drawn from here or checked against it by a test:
sizes to the byte, parameter counts, operators, the sample that belongs to a model.
Where each fact comes from stands in docs/zoo.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a sample holds: "normal" has deviation 10; "pixels" are whole numbers 0 to 255;
# "photo" is a smooth picture scaled to -1 to 1; "tokens" are int64 below `limit`;
# "mask" is int64, ones and then padding's zeros; "segments" is int64, zeros and then
# ones; "cache" has deviation 1.
Kind = Literal["normal", "pixels", "photo", "ones", "tokens", "mask", "segments", "cache"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One tensor of `test_data_set_0`.

    Attributes:
        input: Graph input that it is for.
        shape: Its shape.
        kind: How its values are made.
        is_named: Whether the file names its tensor; several published ones do not.
        limit: For tokens: one more than the largest.
    """

    input: str
    shape: tuple[int, ...]
    kind: Kind
    is_named: bool = True
    limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A real file, trained, that is kept where it is found.

    Attributes:
        source: Who publishes it: "InferONNX artifact" or "ONNX model zoo".
        n_bytes: Its size.
        sha256: Its SHA-256 in hexadecimal, or "first…last" digits where no more is known.
    """

    source: str
    n_bytes: int
    sha256: str

    def matches(self, n_bytes: int, sha256: str) -> bool:
        """Return whether a file of this size and digest is the published one."""
        first, _, last = self.sha256.partition("…")
        return n_bytes == self.n_bytes and sha256.startswith(first) and sha256.endswith(last)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooModel:
    """A model that can be built.

    Attributes:
        name: Its published name; folder and file are called so.
        summary: What it is, in a few words.
        opset: Version of the default operator set.
        ir_version: IR version of the file.
        samples: The tensors of its test data set.
        outputs: Names of the graph outputs.
        n_floats: float32 values stored.
        n_nodes: Nodes of the graph.
        histogram: Nodes of each operator.
        size_bytes: Size of our file without its metadata entry.
        published: Real files; the first is the one whose size ours is compared with.
    """

    name: str
    summary: str
    opset: int
    ir_version: int
    samples: tuple[Sample, ...]
    outputs: tuple[str, ...]
    n_floats: int
    n_nodes: int
    histogram: Mapping[str, int]
    size_bytes: int
    published: tuple[Published, ...] = ()

    @property
    def size_difference(self) -> int | None:
        """Bytes by which our file is larger than the published one; None if there is none."""
        return self.size_bytes - self.published[0].n_bytes if self.published else None


_ARTIFACT = "InferONNX artifact"
_ZOO = "ONNX model zoo"
_IMAGE = (1, 3, 224, 224)
_SENTENCE = (
    Sample(input="input_ids", shape=(1, 128), kind="tokens", limit=30_522),
    Sample(input="attention_mask", shape=(1, 128), kind="mask"),
    Sample(input="token_type_ids", shape=(1, 128), kind="segments"),
)


def _bert_histogram(n_layers: int) -> dict[str, int]:
    """Return the operators of a BERT with pooler, of which every layer has as many."""
    return {
        "Add": 10 * n_layers + 3,
        "MatMul": 8 * n_layers + 1,
        "Reshape": 4 * n_layers,
        "Transpose": 4 * n_layers,
        "LayerNormalization": 2 * n_layers + 1,
        "Mul": 2 * n_layers + 1,
        "Div": 2 * n_layers,
        "Softmax": n_layers,
        "Erf": n_layers,
        "Gather": 5,
        "Shape": 1,
        "Range": 1,
        "Unsqueeze": 1,
        "Cast": 1,
        "Sub": 1,
        "Identity": 1,
        "Tanh": 1,
    }


_TABLE = (
    ZooModel(
        name="squeezenet1.0-7",
        summary="SqueezeNet (topology of 1.1), Caffe2",
        opset=7,
        ir_version=3,
        samples=(Sample(input="data_0", shape=_IMAGE, kind="normal"),),
        outputs=("softmaxout_1",),
        n_floats=1_235_496,
        n_nodes=66,
        histogram={
            "Conv": 26,
            "Relu": 26,
            "Concat": 8,
            "MaxPool": 3,
            "Dropout": 1,
            "GlobalAveragePool": 1,
            "Softmax": 1,
        },
        size_bytes=4_952_222,
        published=(
            Published(
                source=_ARTIFACT,
                n_bytes=4_952_222,
                sha256="d95e2191e056f1912a9b8f6000da3b9c7818441b9eb48137033c2adbf6398bc8",
            ),
        ),
    ),
    ZooModel(
        name="mobilenetv2-7",
        summary="MobileNet v2, MXNet Gluon",
        opset=7,
        ir_version=3,
        samples=(Sample(input="data", shape=_IMAGE, kind="pixels", is_named=False),),
        outputs=("mobilenetv20_output_flatten0_reshape0",),
        n_floats=3_539_136,
        n_nodes=155,
        histogram={
            "Conv": 54,
            "BatchNormalization": 53,
            "Relu": 36,
            "Add": 10,
            "GlobalAveragePool": 1,
            "Reshape": 1,
        },
        size_bytes=14_246_826,
        published=(
            Published(
                source=_ARTIFACT,
                n_bytes=14_246_826,
                sha256="c1c513582d56afceff8516c73804e484c81c6a830712ab6d682253f4a3cd042f",
            ),
        ),
    ),
    ZooModel(
        name="densenet-7",
        summary="DenseNet-121, Caffe2",
        opset=7,
        ir_version=3,
        samples=(Sample(input="data_0", shape=_IMAGE, kind="normal"),),
        outputs=("fc6_1",),
        n_floats=8_146_152,
        n_nodes=910,
        histogram={
            "Unsqueeze": 242,
            "Conv": 121,
            "BatchNormalization": 121,
            "Mul": 121,
            "Add": 121,
            "Relu": 121,
            "Concat": 58,
            "AveragePool": 3,
            "MaxPool": 1,
            "GlobalAveragePool": 1,
        },
        size_bytes=32_719_461,
        published=(
            Published(
                source=_ARTIFACT,
                n_bytes=32_719_461,
                sha256="79c3bc0974696a2ea9efd2f7bca19fdd630834bd0086f1b4a1c3db3dce3b2a51",
            ),
        ),
    ),
    ZooModel(
        name="efficientnet-lite4-11",
        summary="EfficientNet-Lite4, channels last, tf2onnx",
        opset=11,
        ir_version=6,
        samples=(Sample(input="images:0", shape=(1, 224, 224, 3), kind="photo"),),
        outputs=("Softmax:0",),
        n_floats=12_950_386,
        n_nodes=181,
        histogram={
            "Conv": 91,
            "Clip": 61,
            "Add": 24,
            "Transpose": 1,
            "AveragePool": 1,
            "Squeeze": 1,
            "MatMul": 1,
            "Softmax": 1,
        },
        size_bytes=51_873_943,
        published=(
            Published(
                source=_ARTIFACT,
                n_bytes=51_941_712,
                sha256="50d92899935e6f5b082f7eede90f2e40163eddaa4621702bc1bf5e16c29fd3d4",
            ),
            Published(
                source=_ZOO,
                n_bytes=51_946_641,
                sha256="d111689907c06eea7c82e4833ddef758da6453b9d4cf60b7e99ca05c7cbd9c12",
            ),
        ),
    ),
    ZooModel(
        name="inception-v3-12",
        summary="Inception v3, PyTorch",
        opset=12,
        ir_version=7,
        samples=(Sample(input="data", shape=(1, 3, 299, 299), kind="ones", is_named=False),),
        outputs=("470",),
        n_floats=23_817_352,
        n_nodes=215,
        histogram={
            "Conv": 94,
            "Relu": 94,
            "Concat": 11,
            "AveragePool": 9,
            "MaxPool": 4,
            "GlobalAveragePool": 1,
            "Flatten": 1,
            "Gemm": 1,
        },
        size_bytes=95_316_988,
        published=(
            Published(
                source=_ARTIFACT,
                n_bytes=95_317_058,
                sha256="58fbca1c5cf04547dbf9eeeb10f13653a79f263bfc188bb39ae25dfe1a031f00",
            ),
        ),
    ),
    ZooModel(
        name="resnet101-v2-7",
        summary="ResNet-101 v2, MXNet Gluon",
        opset=7,
        ir_version=3,
        samples=(Sample(input="data", shape=_IMAGE, kind="pixels", is_named=False),),
        outputs=("resnetv25_dense0_fwd",),
        n_floats=44_639_412,
        n_nodes=344,
        histogram={
            "Conv": 104,
            "BatchNormalization": 102,
            "Relu": 101,
            "Add": 33,
            "MaxPool": 1,
            "GlobalAveragePool": 1,
            "Reshape": 1,
            "Gemm": 1,
        },
        size_bytes=178_682_299,
        published=(
            Published(
                source=_ARTIFACT,
                n_bytes=178_682_299,
                sha256="b610c141f3b26bf8324dcbd13532779cceedffac5213dbcc3ad0047b489ce304",
            ),
            Published(source=_ZOO, n_bytes=178_682_301, sha256="3a0a819e…67767d"),
        ),
    ),
    ZooModel(
        name="resnet152-v2-7",
        summary="ResNet-152 v2, MXNet Gluon",
        opset=7,
        ir_version=3,
        samples=(Sample(input="data", shape=_IMAGE, kind="pixels", is_named=False),),
        outputs=("resnetv27_dense0_fwd",),
        n_floats=60_329_140,
        n_nodes=514,
        histogram={
            "Conv": 155,
            "BatchNormalization": 153,
            "Relu": 152,
            "Add": 50,
            "MaxPool": 1,
            "GlobalAveragePool": 1,
            "Reshape": 1,
            "Gemm": 1,
        },
        size_bytes=241_503_846,
        published=(
            Published(
                source=_ARTIFACT,
                n_bytes=241_503_846,
                sha256="12ee6c5da7ec0437b5405d51ab459a4980ed91d51b0cd7e3c0a0b276ad0b1caa",
            ),
            Published(source=_ZOO, n_bytes=241_503_848, sha256="40fb3f6d…1bee64"),
        ),
    ),
    ZooModel(
        name="efficientnet-v2-l-18",
        summary="EfficientNetV2-L, PyTorch",
        opset=18,
        ir_version=8,
        samples=(Sample(input="x", shape=_IMAGE, kind="ones", is_named=False),),
        outputs=("1846",),
        n_floats=118_258_984,
        n_nodes=1_004,
        histogram={
            "Conv": 339,
            "Sigmoid": 264,
            "Mul": 264,
            "Add": 73,
            "GlobalAveragePool": 62,
            "Flatten": 1,
            "Gemm": 1,
        },
        size_bytes=473_348_722,
        published=(
            Published(
                source=_ARTIFACT,
                n_bytes=473_348_722,
                sha256="223e9058e097e1550562fe80b30f2ed88fde0f3756a2f062091acea2a46b515f",
            ),
        ),
    ),
    ZooModel(
        name="vgg16-7",
        summary="VGG-16 with one operator of 411 MB, MXNet Gluon",
        opset=7,
        ir_version=3,
        samples=(Sample(input="data", shape=_IMAGE, kind="pixels"),),
        outputs=("vgg0_dense2_fwd",),
        n_floats=138_357_544,
        n_nodes=41,
        histogram={"Relu": 15, "Conv": 13, "MaxPool": 5, "Flatten": 3, "Gemm": 3, "Dropout": 2},
        size_bytes=553_437_328,
        published=(
            Published(
                source=_ZOO,
                n_bytes=553_437_328,
                sha256="f20805a3ecccaa88647bbab4ad011ff2412a9838485ea844de0fcbce349820b9",
            ),
        ),
    ),
    ZooModel(
        name="minilm-l6",
        summary="all-MiniLM-L6-v2's shape: sentence embeddings",
        opset=17,
        ir_version=8,
        samples=_SENTENCE,
        outputs=("last_hidden_state", "sentence_embedding"),
        n_floats=22_565_381,
        n_nodes=226,
        histogram={
            "Add": 62,
            "MatMul": 48,
            "Reshape": 24,
            "Transpose": 24,
            "Div": 14,
            "Mul": 14,
            "LayerNormalization": 13,
            "Softmax": 6,
            "Erf": 6,
            "Gather": 4,
            "Unsqueeze": 2,
            "Cast": 2,
            "ReduceSum": 2,
            "Shape": 1,
            "Range": 1,
            "Sub": 1,
            "ReduceL2": 1,
            "Identity": 1,
        },
        size_bytes=90_303_260,
    ),
    ZooModel(
        name="bert-base",
        summary="BERT base with its pooler",
        opset=17,
        ir_version=8,
        samples=_SENTENCE,
        outputs=("last_hidden_state", "pooler_output"),
        n_floats=109_482_245,
        n_nodes=426,
        histogram=_bert_histogram(12),
        size_bytes=438_010_098,
    ),
    ZooModel(
        name="bert-large",
        summary="BERT large with its pooler",
        opset=17,
        ir_version=8,
        samples=_SENTENCE,
        outputs=("last_hidden_state", "pooler_output"),
        n_floats=335_141_893,
        n_nodes=834,
        histogram=_bert_histogram(24),
        size_bytes=1_340_729_093,
    ),
    ZooModel(
        name="decoder-kv",
        summary="a small decoder with a key-value cache",
        opset=17,
        ir_version=8,
        samples=(
            Sample(input="input_ids", shape=(1, 8), kind="tokens", limit=4_096),
            *(
                Sample(input=f"past_{kind}_{layer}", shape=(1, 4, 24, 64), kind="cache")
                for layer in range(4)
                for kind in ("key", "value")
            ),
        ),
        outputs=(
            "logits",
            *(f"present_{kind}_{layer}" for layer in range(4) for kind in ("key", "value")),
        ),
        n_floats=4_339_203,
        n_nodes=152,
        histogram={
            "Add": 38,
            "MatMul": 33,
            "Transpose": 21,
            "Reshape": 16,
            "LayerNormalization": 9,
            "Concat": 8,
            "Gather": 4,
            "Div": 4,
            "Softmax": 4,
            "Sigmoid": 4,
            "Mul": 4,
            "Shape": 2,
            "Range": 2,
            "Unsqueeze": 1,
            "Greater": 1,
            "Where": 1,
        },
        size_bytes=17_374_522,
    ),
    ZooModel(
        name="unet-1024",
        summary="U-Net with 1024 channels at the bottom: segmentation",
        opset=17,
        ir_version=8,
        samples=(Sample(input="image", shape=(1, 3, 256, 256), kind="photo"),),
        outputs=("logits",),
        n_floats=31_049_409,
        n_nodes=67,
        histogram={
            "Conv": 19,
            "BatchNormalization": 18,
            "Relu": 18,
            "MaxPool": 4,
            "ConvTranspose": 4,
            "Concat": 4,
        },
        size_bytes=124_208_915,
    ),
)

MODELS: Mapping[str, ZooModel] = MappingProxyType({model.name: model for model in _TABLE})
