import array

import pytest

from inferonnx.runtime.ort import Environment
from inferonnx.tensors import DType, Tensor


@pytest.fixture
def environment():
    return Environment.acquire(n_threads=2, spin=False, arena_strategy=0, arena_bytes=1 << 20)


@pytest.fixture(scope="session")
def floats():
    """Make a tensor of some numbers."""

    def make(*numbers, shape=None):
        data = memoryview(array.array("f", numbers)).cast("B")
        return Tensor(dtype=DType.FLOAT, shape=shape or (len(numbers),), data=data)

    return make
