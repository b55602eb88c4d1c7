import subprocess
import sys

import numpy as np
import pytest

from golden import trained
from inferonnx.app.host.checking import inspect
from inferonnx.app.owner.demo import (
    MAGIKA_PADDING,
    MAGIKA_WINDOW,
    forge,
    magika_input,
    npz_in_memory,
)
from inferonnx.errors import TensorError
from inferonnx.sealed import HEADER_BYTES


def test_a_short_file_is_seen_whole_from_both_ends():
    window = magika_input(b"  \n" + b"short" + b"\n\n")[0]
    assert window.shape == (2 * MAGIKA_WINDOW,)
    assert bytes(window[:7].tolist()) == b"short\n\n"
    assert bytes(window[-8:].tolist()) == b"  \nshort"
    assert set(window[7:-8]) == {MAGIKA_PADDING}


def test_a_long_file_is_seen_at_both_ends():
    window = magika_input(b" " + b"a" * 1500 + b"z" * 1500 + b"\n")[0]
    assert set(window[:MAGIKA_WINDOW]) == {ord("a")}
    assert set(window[MAGIKA_WINDOW:]) == {ord("z")}


def test_the_windows_are_those_that_magika_makes():
    known = trained.CASES["magika"].answers()["bytes"]
    assert len(known) > 1
    for window in known:
        head = bytes(b for b in window[:MAGIKA_WINDOW].tolist() if b != MAGIKA_PADDING)
        tail = bytes(b for b in window[MAGIKA_WINDOW:].tolist() if b != MAGIKA_PADDING)
        # A file that fills no window is all in the head, but for white space in front.
        is_short = len(head) < MAGIKA_WINDOW
        content = head if is_short else head + b"x" * MAGIKA_WINDOW + tail
        np.testing.assert_array_equal(magika_input(content)[0], window)


@pytest.mark.parametrize("content", [b"", b" \n\t "])
def test_an_empty_file_is_refused(content):
    with pytest.raises(TensorError, match="empty"):
        magika_input(content)


def test_a_forgery_differs_in_one_bit_of_the_weights(sealed_cnn, tmp_path):
    copy = tmp_path / "copy"
    offset = forge(sealed_cnn, copy)
    original, forged = sealed_cnn.read_bytes(), copy.read_bytes()
    assert len(forged) == len(original)
    changed = [i for i, (a, b) in enumerate(zip(original, forged, strict=True)) if a != b]
    assert changed == [offset]
    assert (original[offset] ^ forged[offset]).bit_count() == 1
    weights = inspect(str(sealed_cnn))["segments_bytes"]
    assert HEADER_BYTES <= offset < HEADER_BYTES + weights


def test_an_input_for_other_processes_lies_in_memory_alone(tmp_path):
    name, kept = tmp_path / "in.npz", np.arange(3.0)
    show = "import sys, numpy; print(numpy.load(sys.argv[1])['x'].tolist())"
    with npz_in_memory(name, {"x": kept}):
        assert list(tmp_path.iterdir()) == [name]
        assert "memfd:" in str(name.resolve())
        for _ in range(2):  # each reads it from its beginning
            done = subprocess.run(
                [sys.executable, "-c", show, str(name)], capture_output=True, text=True, check=True
            )
            assert done.stdout == f"{kept.tolist()}\n"
    assert not list(tmp_path.iterdir())
