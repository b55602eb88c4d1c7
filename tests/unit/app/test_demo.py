from pathlib import Path

import numpy as np
import pytest

from golden import trained
from inferonnx.app.demo import forge, magika_input
from inferonnx.errors import TensorError


def test_the_window_is_the_known_one():
    known = trained.CASES["magika"].answers()["bytes"]
    padded = known[0]
    head = bytes(int(b) for b in padded[:1024] if b < 256)
    tail = bytes(int(b) for b in padded[1024:] if b < 256)
    if head == tail:  # a file shorter than a window is seen whole from both ends
        np.testing.assert_array_equal(magika_input(b"  \n" + head + b"\n\n")[0], padded)
    content = b" " + b"a" * 1500 + b"z" * 1500 + b"\n"
    window = magika_input(content)[0]
    assert window.shape == (2048,)
    assert set(window[:1024]) == {ord("a")}
    assert set(window[1024:]) == {ord("z")}


@pytest.mark.parametrize("content", [b"", b" \n\t "])
def test_an_empty_file_is_refused(content):
    with pytest.raises(TensorError, match="empty"):
        magika_input(content)


def test_a_forgery_differs_in_one_bit(tmp_path):
    original, copy = tmp_path / "a", tmp_path / "b"
    original.write_bytes(bytes(range(200)))
    offset = forge(original, copy)
    changed = [
        i
        for i, (a, b) in enumerate(zip(original.read_bytes(), copy.read_bytes(), strict=True))
        if a != b
    ]
    assert changed == [offset]
    assert Path(copy).stat().st_size == 200
