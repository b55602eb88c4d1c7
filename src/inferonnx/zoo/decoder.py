"""A small decoder with a key-value cache (a definition of our own, opset 17).

The cache enters as inputs and leaves as outputs, grown by the new tokens; it may
be empty at first. Shapes in comments: b batch, s new tokens, p tokens in the
cache, t = p + s, a heads, d hidden / heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto

from inferonnx.zoo.transformer import TransformerBuilder
from inferonnx.zoo.weights import normal

if TYPE_CHECKING:
    from inferonnx.zoo.graphs import Blueprint

N_LAYERS = 4
N_HEADS = 4
_HIDDEN = 256
_FEED_FORWARD = 1024
_VOCABULARY = 4096
_POSITIONS = 512
_EPSILON = 1e-5
_MASKED = -3.4e38


def decoder_kv() -> Blueprint:
    """Return decoder-kv: normalisation first, SiLU, the embedding used again as head."""
    g = TransformerBuilder("decoder-kv", _HIDDEN, N_HEADS)
    g.input("input_ids", ("batch", "seq"), TensorProto.INT64)
    g.output("logits", ("batch", "seq", _VOCABULARY))
    for layer in range(N_LAYERS):
        for kind in ("key", "value"):
            cached = ("batch", N_HEADS, "past", _HIDDEN // N_HEADS)
            grown = ("batch", N_HEADS, "total", _HIDDEN // N_HEADS)
            g.input(f"past_{kind}_{layer}", cached)
            g.output(f"present_{kind}_{layer}", grown)
    positions, mask = _positions_and_mask(g)
    words = g.weight("tokens.weight", (_VOCABULARY, _HIDDEN), normal(1.0))
    places = g.weight("positions.weight", (_POSITIONS, _HIDDEN), normal(0.1))
    x = g.op("Gather", [words, "input_ids"], "tokens")  # (b, s, hidden)
    x = g.op("Add", [x, g.op("Gather", [places, positions], "positions")], "embedded")
    for layer in range(N_LAYERS):
        x = _layer(g, x, layer, mask)
    x = g.norm(x, "norm", _EPSILON)
    head = g.op("Transpose", [words], "head", perm=[1, 0])
    g.op("MatMul", [x, head], "logits")
    return g.finish()


def _positions_and_mask(g: TransformerBuilder) -> tuple[str, str]:
    """Append the new tokens' positions (s) and the causal mask (s, t)."""
    zero, one, two = (g.integers(f"int_{number}", number) for number in (0, 1, 2))
    last = g.integers("axes.last", [1])
    masked, allowed = g.scalar("masked", _MASKED), g.scalar("allowed", 0.0)
    n_new = g.op("Gather", [g.op("Shape", ["input_ids"], "ids_shape"), one], "n_new")
    n_past = g.op("Gather", [g.op("Shape", ["past_key_0"], "past_shape"), two], "n_past")
    total = g.op("Add", [n_past, n_new], "n_total")
    positions = g.op("Range", [n_past, total, one], "new_positions")
    every = g.op("Range", [zero, total, one], "all_positions")
    column = g.op("Unsqueeze", [positions, last], "new_column")  # (s, 1)
    later = g.op("Greater", [every, column], "is_later")
    return positions, g.op("Where", [later, masked, allowed], "mask")


def _layer(g: TransformerBuilder, x: str, number: int, mask: str) -> str:
    """Append one decoder layer."""
    path = f"layers.{number}"
    square = (_HIDDEN, _HIDDEN)
    y = g.norm(x, f"{path}.attention_norm", _EPSILON)

    def projected(kind: str) -> str:
        name = f"{path}.{kind}"
        split = g.heads(g.dense(y, name, square), name)
        return g.op("Transpose", [split], f"{name}/transposed", perm=[0, 2, 1, 3])

    def grown(kind: str) -> str:
        cache = [f"past_{kind}_{number}", projected(kind)]
        return g.op("Concat", cache, f"present_{kind}_{number}", axis=2)  # (b, a, t, d)

    query, key, value = projected("query"), grown("key"), grown("value")
    key = g.op("Transpose", [key], f"{path}.key/columns", perm=[0, 1, 3, 2])  # (b, a, d, t)
    y = g.attend(f"{path}.attention", query, key, value, mask)
    y = g.dense(y, f"{path}.attention_out", square, gain=0.5)
    x = g.op("Add", [x, y], f"{path}/attended")
    y = g.dense(g.norm(x, f"{path}.norm", _EPSILON), f"{path}.up", (_HIDDEN, _FEED_FORWARD), 2.0)
    y = g.op("Mul", [y, g.op("Sigmoid", [y], f"{path}/sigmoid")], f"{path}/silu")
    y = g.dense(y, f"{path}.down", (_FEED_FORWARD, _HIDDEN))
    return g.op("Add", [x, y], f"{path}/out")
