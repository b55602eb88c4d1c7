"""BERT encoders: MiniLM, base and large (a definition of our own, opset 17).

Weights are called as in the checkpoints that people have, and laid out as MatMul
wants them: a dense weight is (in, out), the transpose of the checkpoint's.
Shapes in comments: b batch, s sequence, h hidden, a heads, d hidden / heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnx import TensorProto

from inferonnx.zoo.graphs import Blueprint, Exporter, GraphBuilder
from inferonnx.zoo.weights import full, he, normal, uniform

_VOCABULARY = 30_522
_POSITIONS = 512
_SEGMENTS = 2
# The lowest float32, nearly: a masked score loses against every other and adds nothing.
_MASKED = -3.4e38


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    """The numbers that tell one BERT from another."""

    name: str
    n_layers: int
    hidden: int
    n_heads: int
    feed_forward: int


class TransformerBuilder(GraphBuilder):
    """Adds the layers that encoders and decoders share; a value is called as its node."""

    def __init__(self, graph_name: str, hidden: int, n_heads: int) -> None:
        super().__init__(
            Exporter(producer="inferonnx", ir_version=8, opset=17, graph_name=graph_name)
        )
        self.hidden = hidden
        self.integers("shape.heads", [0, 0, n_heads, hidden // n_heads])
        self.integers("shape.hidden", [0, 0, hidden])
        self.scalar("sqrt_d", math.sqrt(hidden // n_heads))

    def scalar(self, name: str, value: float) -> str:
        """Declare a float32 of rank 0: operators like Range and Clip insist on that rank."""
        return self.weight(name, (), full(value), trainable=False)

    def op(self, op_type: str, inputs: list[str], name: str, **attributes: object) -> str:
        """Append a node whose output is called as itself."""
        return self.node(op_type, inputs, name, name=name, **attributes)

    def dense(self, x: str, module: str, sizes: tuple[int, int], gain: float = 1.0) -> str:
        """Append MatMul and Add: (b, s, in) to (b, s, out)."""
        n_in, n_out = sizes
        weight = self.weight(f"{module}.weight", (n_in, n_out), he(n_in, gain))
        bias = self.weight(f"{module}.bias", (n_out,), uniform(-0.1, 0.1))
        return self.op("Add", [self.op("MatMul", [x, weight], f"{module}/MatMul"), bias], module)

    def norm(self, x: str, module: str, epsilon: float) -> str:
        """Append a LayerNormalization over the last axis."""
        scale = self.weight(f"{module}.weight", (self.hidden,), uniform(0.8, 1.2))
        bias = self.weight(f"{module}.bias", (self.hidden,), uniform(-0.1, 0.1))
        return self.op("LayerNormalization", [x, scale, bias], module, axis=-1, epsilon=epsilon)

    def heads(self, x: str, name: str) -> str:
        """Append the split into heads: (b, s, h) to (b, s, a, d)."""
        return self.op("Reshape", [x, "shape.heads"], f"{name}/heads")

    def attend(self, path: str, query: str, key: str, value: str, mask: str) -> str:
        """Append attention.

        Args:
            path: Prefix of the nodes' names.
            query: (b, a, s, d).
            key: Transposed, (b, a, d, t) for t keys.
            value: (b, a, t, d).
            mask: Added to the scores, broadcast to (b, a, s, t).

        Returns:
            The context, (b, s, h).
        """
        scores = self.op("MatMul", [query, key], f"{path}/scores")
        scores = self.op("Div", [scores, "sqrt_d"], f"{path}/scaled")
        scores = self.op("Add", [scores, mask], f"{path}/masked")
        weights = self.op("Softmax", [scores], f"{path}/weights", axis=-1)
        context = self.op("MatMul", [weights, value], f"{path}/context")
        context = self.op("Transpose", [context], f"{path}/merged", perm=[0, 2, 1, 3])
        return self.op("Reshape", [context, "shape.hidden"], f"{path}/joined")


class _Bert(TransformerBuilder):
    """Adds BERT's layers."""

    def __init__(self, size: _Size) -> None:
        super().__init__(size.name, size.hidden, size.n_heads)
        self._size = size
        self.scalar("sqrt_2", math.sqrt(2.0))
        self.scalar("one", 1.0)
        self.scalar("half", 0.5)
        self.scalar("masked", _MASKED)
        self.integers("zero_i", 0)
        self.integers("one_i", 1)
        self.integers("axes.mask", [1, 2])

    def embed(self) -> str:
        """Append the three embeddings and their normalisation: (b, s, h)."""

        def table(kind: str, n_rows: int) -> str:
            shape = (n_rows, self.hidden)
            return self.weight(f"embeddings.{kind}_embeddings.weight", shape, normal(0.02**2))

        words = self.op("Gather", [table("word", _VOCABULARY), "input_ids"], "embeddings/word")
        kinds = self.op(
            "Gather", [table("token_type", _SEGMENTS), "token_type_ids"], "embeddings/token_type"
        )
        shape = self.op("Shape", ["input_ids"], "embeddings/shape")
        length = self.op("Gather", [shape, "one_i"], "embeddings/length")
        numbers = self.op("Range", ["zero_i", length, "one_i"], "embeddings/numbers")
        places = self.op("Gather", [table("position", _POSITIONS), numbers], "embeddings/position")
        x = self.op("Add", [words, kinds], "embeddings/words_and_types")
        x = self.op("Add", [x, places], "embeddings/sum")
        return self.norm(x, "embeddings.LayerNorm", 1e-12)

    def mask(self) -> str:
        """Append what is added to the scores: 0 for a token, the lowest for padding."""
        mask = self.op("Unsqueeze", ["attention_mask", "axes.mask"], "mask/wide")  # (b, 1, 1, s)
        mask = self.op("Cast", [mask], "mask/float", to=TensorProto.FLOAT)
        mask = self.op("Sub", ["one", mask], "mask/padding")
        return self.op("Mul", [mask, "masked"], "mask")

    def layer(self, x: str, number: int, mask: str) -> str:
        """Append one encoder layer."""
        path = f"encoder.layer.{number}"
        square = (self.hidden, self.hidden)
        own = f"{path}.attention.self"

        def projected(kind: str, perm: list[int]) -> str:
            name = f"{own}.{kind}"
            split = self.heads(self.dense(x, name, square), name)
            return self.op("Transpose", [split], f"{name}/transposed", perm=perm)

        query = projected("query", [0, 2, 1, 3])  # (b, a, s, d)
        key = projected("key", [0, 2, 3, 1])  # (b, a, d, s)
        value = projected("value", [0, 2, 1, 3])  # (b, a, s, d)
        y = self.attend(own, query, key, value, mask)
        out = f"{path}.attention.output"
        y = self.dense(y, f"{out}.dense", square)
        x = self.norm(self.op("Add", [y, x], f"{out}/residual"), f"{out}.LayerNorm", 1e-12)
        wide = self._size.feed_forward
        y = self.dense(x, f"{path}.intermediate.dense", (self.hidden, wide))
        y = self.gelu(y, f"{path}.intermediate")
        y = self.dense(y, f"{path}.output.dense", (wide, self.hidden), gain=2.0)
        y = self.op("Add", [y, x], f"{path}.output/residual")
        return self.norm(y, f"{path}.output.LayerNorm", 1e-12)

    def gelu(self, x: str, path: str) -> str:
        """Append the exact Gelu, spelled out: x * (1 + erf(x / sqrt 2)) / 2."""
        y = self.op("Div", [x, "sqrt_2"], f"{path}/gelu_scaled")
        y = self.op("Erf", [y], f"{path}/gelu_erf")
        y = self.op("Add", [y, "one"], f"{path}/gelu_shifted")
        y = self.op("Mul", [x, y], f"{path}/gelu_gated")
        return self.op("Mul", [y, "half"], f"{path}/gelu")

    def encode(self) -> str:
        """Append everything from the inputs to the last hidden state."""
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            self.input(name, ("batch", "seq"), TensorProto.INT64)
        x = self.embed()
        mask = self.mask()
        for number in range(self._size.n_layers):
            x = self.layer(x, number, mask)
        self.output("last_hidden_state", ("batch", "seq", self.hidden))
        return self.op("Identity", [x], "last_hidden_state")

    def mean_pool(self, x: str) -> None:
        """Append the mean over tokens that are not padding, scaled to length 1."""
        self.integers("axes.last", [2])
        self.integers("axes.sequence", [1])
        mask = self.op("Unsqueeze", ["attention_mask", "axes.last"], "pooling/wide")  # (b, s, 1)
        mask = self.op("Cast", [mask], "pooling/mask", to=TensorProto.FLOAT)
        x = self.op("Mul", [x, mask], "pooling/masked")
        total = self.op("ReduceSum", [x, "axes.sequence"], "pooling/sum", keepdims=0)
        count = self.op("ReduceSum", [mask, "axes.sequence"], "pooling/count", keepdims=0)
        mean = self.op("Div", [total, count], "pooling/mean")  # (b, h)
        length = self.op("ReduceL2", [mean], "pooling/length", axes=[1], keepdims=1)
        self.output("sentence_embedding", ("batch", self.hidden))
        self.op("Div", [mean, length], "sentence_embedding")

    def first_token(self, x: str) -> None:
        """Append BERT's pooler: a dense layer and Tanh on the first token."""
        first = self.integers("first", 0)
        x = self.op("Gather", [x, first], "pooler/first", axis=1)  # (b, h)
        x = self.dense(x, "pooler.dense", (self.hidden, self.hidden))
        self.output("pooler_output", ("batch", self.hidden))
        self.op("Tanh", [x], "pooler_output")


def minilm() -> Blueprint:
    """Return minilm-l6: the shape of all-MiniLM-L6-v2, ending in a sentence embedding."""
    g = _Bert(_Size(name="minilm-l6", n_layers=6, hidden=384, n_heads=12, feed_forward=1536))
    g.mean_pool(g.encode())
    return g.finish()


def bert_base() -> Blueprint:
    """Return bert-base with its pooler."""
    return _pooled(_Size(name="bert-base", n_layers=12, hidden=768, n_heads=12, feed_forward=3072))


def bert_large() -> Blueprint:
    """Return bert-large with its pooler."""
    return _pooled(
        _Size(name="bert-large", n_layers=24, hidden=1024, n_heads=16, feed_forward=4096)
    )


def _pooled(size: _Size) -> Blueprint:
    g = _Bert(size)
    g.first_token(g.encode())
    return g.finish()
