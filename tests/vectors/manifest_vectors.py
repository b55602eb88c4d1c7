"""Vectors of manifests that are authentic and break a rule."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vector_forge import seal

from inferonnx.crypto import AES_256_GCM

if TYPE_CHECKING:
    from collections.abc import Callable

    from vector_collect import Vectors


def on_text(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Return a change of the manifest's JSON text, its length kept right."""

    def apply(plain: bytes) -> bytes:
        n_text = int.from_bytes(plain[:4], "big")
        text = change(plain[4 : 4 + n_text])
        return len(text).to_bytes(4, "big") + text + plain[4 + n_text :]

    return apply


def swap(old: str, new: str) -> Callable[[bytes], bytes]:
    """Return the replacement of one place in the text."""

    def apply(text: bytes) -> bytes:
        if old.encode() not in text:
            raise ValueError(f"{old!r} is not in the manifest")
        return text.replace(old.encode(), new.encode("utf-8", "surrogatepass"), 1)

    return on_text(apply)


def on_tree(change: Callable[[Any], object]) -> Callable[[bytes], bytes]:
    """Return a change of the parsed text, which is then canonical in all but its cause."""

    def apply(text: bytes) -> bytes:
        tree = json.loads(text)
        change(tree)
        return json.dumps(tree, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    return on_text(apply)


def setting(*path: str | int, to: object) -> Callable[[bytes], bytes]:
    """Return a change of one place in the parsed text."""

    def change(tree: Any) -> None:
        for step in path[:-1]:
            tree = tree[step]
        tree[path[-1]] = to

    return on_tree(change)


def manifests(vectors: Vectors) -> None:
    """Manifests that are authentic and break a rule."""

    def bad(
        name: str,
        cause: str,
        rules: str,
        change: Callable[[bytes], bytes],
        code: str = "sealed.format",
    ) -> None:
        parts = seal(AES_256_GCM, change_plain=change)
        vectors.add(f"manifest-{name}", cause, rules, parts.file, open=code)

    # S-28
    bad("empty", "the manifest is empty", "S-28", lambda _: b"")
    bad("short-length", "three bytes, less than a length", "S-28", lambda plain: plain[:3])
    bad("text-longer-than-the-rest", "the length of the text is beyond the end", "S-28",
        lambda plain: (len(plain) - 3).to_bytes(4, "big") + plain[4:])  # fmt: skip
    bad("text-beyond-limit", "the length of the text is 2^26 + 1", "S-28 S-36",
        lambda plain: (2**26 + 1).to_bytes(4, "big") + plain[4:])  # fmt: skip
    bad("trailing-byte", "a byte follows the last blob", "S-28", lambda plain: plain + b"\0")
    bad("missing-byte", "the last tag is a byte short", "S-28", lambda plain: plain[:-1])
    bad("missing-tag", "the last tag is missing", "S-28 S-32", lambda plain: plain[:-16])
    bad("extra-tag", "there is a tag more than segments", "S-28 S-32",
        lambda plain: plain + bytes(16))  # fmt: skip
    bad("skeleton-longer-than-the-rest", "a skeleton is longer than what is left", "S-28",
        setting("partitions", 3, "skeleton_bytes", to=2**40))  # fmt: skip
    bad("skeleton-a-byte-long", "a skeleton is a byte longer than sealed", "S-28",
        setting("partitions", 3, "skeleton_bytes", to=11))  # fmt: skip

    # S-29
    for name, old, new in (
        ("space", '"name":', '"name": '),
        ("line-end", '"name":', '\n"name":'),
        ("escaped-letter", "tïny", "t\\u00efny"),
        ("escaped-slash", "seq(", "s\\/q("),
        ("capital-escape", "\\n", "\\u000A"),
        ("fraction", '"time_us":10', '"time_us":10.0'),
        ("exponent", '"time_us":10', '"time_us":1e1'),
        ("negative", '"time_us":10', '"time_us":-10'),
        ("negative-zero", '"peak_bytes":4096', '"peak_bytes":-0'),
        ("leading-zero", '"time_us":10', '"time_us":010'),
        ("not-a-number", '"time_us":10', '"time_us":NaN'),
        ("infinity", '"time_us":10', '"time_us":Infinity'),
        ("large-integer", '"time_us":10', '"time_us":9007199254740992'),
        ("huge-integer", '"time_us":10', '"time_us":' + "9" * 5000),
        ("lone-surrogate", "tïny", "t\\ud800ny"),
        ("surrogate-in-utf-8", "tïny", "t\ud800ny"),
        ("escaped-pair", "😀", "\\ud83d\\ude00"),
        ("unsorted-members", '"arch":"x86_64","layout":', '"layout":"x86_64","arch":'),
    ):  # fmt: skip
        bad(name, f"the JSON is not canonical: {name.replace('-', ' ')}", "S-29", swap(old, new))
    bad("byte-order-mark", "the JSON begins with a byte order mark", "S-29",
        on_text(lambda text: b"\xef\xbb\xbf" + text))  # fmt: skip
    bad("not-utf-8", "the JSON is not UTF-8", "S-29",
        on_text(lambda text: text.replace("ï".encode(), b"\xef")))  # fmt: skip
    bad("not-json", "the text is not JSON", "S-29", on_text(lambda text: text[:-1]))
    bad("two-texts", "a second JSON text follows", "S-29", on_text(lambda text: text + b"{}"))
    bad("deep", "lists are nested 5,000 deep", "S-29",
        on_text(lambda _: b"[" * 5000 + b"]" * 5000))  # fmt: skip

    # S-30
    bad("repeated-member", "a member occurs twice", "S-30",
        swap('"name":"tïny"', '"name":"tïny","name":"tïny"'))  # fmt: skip
    bad("unknown-member", "there is a member more", "S-30", setting("more", to=0))
    bad("missing-member", "a member is missing", "S-30", on_tree(lambda tree: tree.pop("notes")))
    bad("renamed-member", "a member has another name", "S-30", swap('"layout":', '"layouts":'))
    bad("unknown-inner-member", "an inner object has a member more", "S-30",
        setting("target", "more", to=""))  # fmt: skip
    bad("not-an-object", "the text is a list", "S-30", on_text(lambda text: b"[" + text + b"]"))
    for name, path, value in (
        ("boolean-for-integer", ("partitions", 0, "time_us"), True),
        ("text-for-integer", ("memory", "call_bytes"), "256"),
        ("null-for-integer", ("arena", "strategy"), None),
        ("integer-for-boolean", ("rows_independent",), 1),
        ("null-for-boolean", ("rows_independent",), None),
        ("integer-for-text", ("producer",), 1),
        ("null-for-text", ("strategy",), None),
        ("object-for-list", ("notes",), {}),
        ("text-for-list", ("notes",), "note"),
        ("null-for-object", ("target",), None),
        ("list-for-object", ("arena",), [1, 2, 3]),
        ("value-of-two", ("inputs", 0), ["x", "tensor(float)"]),
        ("axis-boolean", ("inputs", 0, 2), [True]),
        ("axis-negative", ("inputs", 0, 2), [-1]),
        ("shape-text", ("inputs", 0, 2), "N"),
        ("weight-of-two", ("partitions", 0, "weights", 0), ["w", 1]),
        ("name-of-weight-null", ("partitions", 0, "weights", 0, 0), None),
        ("shape-of-weight-text", ("partitions", 0, "weights", 0, 2), ["N"]),
        ("shape-of-weight-null", ("partitions", 0, "weights", 0, 2), None),
        ("axis-of-weight-boolean", ("partitions", 0, "weights", 1, 2), [3, True]),
        ("probe-false", ("probe",), False),
        ("check-empty-text", ("check",), ""),
        ("pair-of-three", ("metadata", 0), ["alphabet", "a", "b"]),
        ("key-of-pair-integer", ("metadata", 0), [1, "a"]),
        ("negative-blob", ("check", "inputs", 0, 1), -1),
    ):
        bad(name, f"wrong type: {name.replace('-', ' ')}", "S-30", setting(*path, to=value))

    # S-31
    bad("unsorted-pairs", "pairs are not sorted", "S-31",
        on_tree(lambda tree: tree["metadata"].reverse()))  # fmt: skip
    bad("repeated-pair", "a key of pairs occurs twice", "S-31",
        on_tree(lambda tree: tree["metadata"].insert(0, tree["metadata"][0])))  # fmt: skip

    # S-33 to S-36
    for number in (0, 8, 27, 99):
        bad(f"weight-of-type-{number}", f"a weight has element type {number}", "S-33",
            setting("partitions", 0, "weights", 0, 1, to=number))  # fmt: skip
    for name, path, value in (
        ("weight-named-twice", ("partitions", 0, "weights", 1, 0), "w"),
        ("weight-named-as-input", ("partitions", 0, "weights", 1, 0), "x"),
        ("input-never-made", ("partitions", 1, "inputs", 0), "h9"),
        ("input-made-later", ("partitions", 1, "inputs", 0), "h2"),
        ("input-named-twice", ("partitions", 1, "inputs"), ["x", "x"]),
        ("output-made-twice", ("partitions", 1, "outputs", 0), "h0"),
        ("output-is-an-input", ("partitions", 3, "outputs", 0), "x"),
        ("output-named-twice", ("partitions", 3, "outputs"), ["y", "y"]),
        ("model-output-never-made", ("outputs", 0, 0), "z"),
    ):
        bad(name, name.replace("-", " "), "S-34", setting(*path, to=value))
    bad("model-input-named-twice", "two inputs of the model have one name", "S-34",
        on_tree(lambda tree: tree["inputs"].append(tree["inputs"][0])))  # fmt: skip
    bad("block-too-large", "a block is larger than sealed", "S-35",
        setting("partitions", 3, "weights", 0, 2, to=[1024]), "sealed.auth")  # fmt: skip
    bad("block-too-small", "a block is smaller than sealed", "S-35",
        setting("partitions", 3, "weights", 0, 2, to=[1]), "sealed.auth")  # fmt: skip
    bad("block-beyond-integers", "a block has more than 2^53 bytes", "S-36",
        setting("partitions", 3, "weights", 0, 2, to=[2**50, 2**50]))  # fmt: skip
    bad("too-many-segments", "the blocks have more than 2^20 segments", "S-36",
        setting("partitions", 3, "weights", 0, 2, to=[2**38 + 1]))  # fmt: skip
    bad("too-many-axes", "a shape has 256 axes", "S-36",
        setting("partitions", 3, "weights", 0, 2, to=[1] * 256))  # fmt: skip
    for name, value in (
        ("empty", ""),
        ("long", "n" * 256),
        ("long-in-bytes", "ü" * 128),
        ("with-line-end", "a\nb"),
        ("with-delete", "a\x7f"),
        ("with-c1-control", "a\x85"),
        ("with-line-separator", "a\u2028b"),
    ):
        bad(f"name-{name}", f"the model's name is refused: {name.replace('-', ' ')}", "S-30 S-36",
            setting("name", to=value))  # fmt: skip
