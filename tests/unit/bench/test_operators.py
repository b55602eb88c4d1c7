"""Operators timed in one real process, and what follows where the kernel kills it."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from inferonnx.app.owner.partitioning import partition
from inferonnx.bench.operators import TRIES, time_operators
from inferonnx.epc import unlimited
from inferonnx.errors import UnavailableError
from inferonnx.model.chain import choose_sample, read_original


@pytest.fixture(scope="module")
def chained(cnn, tmp_path_factory):
    folder = tmp_path_factory.mktemp("operators")
    original = read_original(str(cnn))
    np.savez(folder / "sample.npz", **choose_sample(original, sample=None))
    chain = partition(str(cnn), str(folder / "links"), strategy="operators").chain
    return chain, str(folder / "sample.npz")


class Killing:
    """Stands where a limit does: of what is spawned, the first `n` processes are killed."""

    def __init__(self, n, limit_bytes):
        self.left, self.limit_bytes, self.n_spawned = n, limit_bytes, 0

    def spawn(self, *args, **kwargs):
        process = subprocess.Popen(*args, **kwargs)
        self.n_spawned += 1
        if self.n_spawned <= self.left:
            process.kill()
        return process


def test_links_are_timed_by_the_operator_that_begins_them(chained):
    chain, sample = chained
    found = time_operators(chain, sample, unlimited(), runs=1)
    assert list(found) == [link.start for link in chain.links]
    assert all(one.ms > 0 for one in found.values())


def test_a_process_that_the_kernel_killed_is_tried_again_under_a_limit(chained):
    chain, sample = chained
    limit = Killing(TRIES - 1, 85 << 20)
    assert time_operators(chain, sample, limit, runs=1)
    assert limit.n_spawned == TRIES


@pytest.mark.parametrize(("limit_bytes", "n_spawned"), [(85 << 20, TRIES), (None, 1)])
def test_one_that_is_killed_again_and_again_is_said(chained, limit_bytes, n_spawned):
    chain, sample = chained
    limit = Killing(TRIES, limit_bytes)
    with pytest.raises(UnavailableError):
        time_operators(chain, sample, limit, runs=1)
    assert limit.n_spawned == n_spawned
