"""Which function draws which model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.zoo import (
    caffe2,
    decoder,
    efficientnet_lite,
    efficientnet_v2,
    gluon,
    inception,
    transformer,
    unet,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inferonnx.zoo.graphs import Blueprint

BLUEPRINTS: Mapping[str, Callable[[], Blueprint]] = {
    "squeezenet1.0-7": caffe2.squeezenet,
    "mobilenetv2-7": gluon.mobilenet,
    "densenet-7": caffe2.densenet,
    "efficientnet-lite4-11": efficientnet_lite.lite4,
    "inception-v3-12": inception.inception_v3,
    "resnet101-v2-7": gluon.resnet101,
    "resnet152-v2-7": gluon.resnet152,
    "efficientnet-v2-l-18": efficientnet_v2.v2_l,
    "vgg16-7": gluon.vgg16,
    "minilm-l6": transformer.minilm,
    "bert-base": transformer.bert_base,
    "bert-large": transformer.bert_large,
    "decoder-kv": decoder.decoder_kv,
    "unet-1024": unet.unet_1024,
}
