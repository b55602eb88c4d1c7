import pytest

import inferonnx
from inferonnx.app import ModelPin, ReleasePin
from inferonnx.app.host.opened_file import open_file
from inferonnx.errors import KeyMismatchError, PinError


@pytest.fixture(scope="module")
def key(key_path):
    return inferonnx.Key.load(key_path)


def test_another_key_is_told_by_its_public_id(sealed_cnn, key):
    other = inferonnx.Key.generate()
    with pytest.raises(KeyMismatchError) as caught:
        open_file(str(sealed_cnn), key=other)
    assert other.public_id in str(caught.value)
    assert key.public_id in str(caught.value)


def test_pins(sealed_cnn, key):
    opened = open_file(str(sealed_cnn), key=key)
    opened.close()
    model_id = opened.verified.model_id
    owner = bytes.fromhex(key.public_key)
    for pin in (
        ModelPin(model_id=model_id),
        ReleasePin(owner=owner, name="cnn", least_release=3),
        ReleasePin(owner=owner, name="cnn", least_release=0),
    ):
        open_file(str(sealed_cnn), key=key, pin=pin).close()
    for pin in (
        ModelPin(model_id=bytes(32)),
        ReleasePin(owner=owner, name="cnn", least_release=4),
        ReleasePin(owner=bytes(32), name="cnn", least_release=0),
        ReleasePin(owner=owner, name="dnn", least_release=0),
    ):
        with pytest.raises(PinError):
            open_file(str(sealed_cnn), key=key, pin=pin)


def test_the_pin_is_judged_before_the_key(sealed_cnn):
    with pytest.raises(PinError):
        open_file(
            str(sealed_cnn),
            key=inferonnx.Key.generate(),
            pin=ModelPin(model_id=bytes(32)),
        )
