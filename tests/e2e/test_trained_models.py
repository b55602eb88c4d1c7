"""Trained models give their known answers when every weight is streamed from a sealed file."""

import os
from pathlib import Path

import pytest

import inferonnx
from golden import trained
from inferonnx import zoo
from inferonnx.app.host.arrays import to_numpy
from inferonnx.app.host.opening import open_unplanned
from inferonnx.app.owner.partitioning import check_partitions_agree, partition, verify_partitions
from inferonnx.model.chain import ChainSession

FETCHED = Path(
    os.environ.get("INFERONNX_TRAINED") or Path(__file__).parents[2] / "models" / "trained"
)
FAST_DOWNLOAD_BYTES = 20_000_000


def is_slow(case):
    return bool(case.fetched) and zoo.TRAINED[case.fetched].wheel_bytes > FAST_DOWNLOAD_BYTES


CASES = [
    pytest.param(case, id=case.name, marks=[pytest.mark.slow] if is_slow(case) else [])
    for case in trained.CASES.values()
]


class Sealed:
    """Seals a model on its first inputs, then streams it."""

    def __init__(self, paths, key, folder):
        self.paths, self.key, self.folder, self.sessions = paths, key, folder, {}

    def __call__(self, model, inputs):
        if model not in self.sessions:
            path = self.folder / f"{Path(model).stem}.sealed"
            inferonnx.seal(
                self.paths[model], path, key=self.key, memory="1GiB", sample=dict(inputs)
            )
            self.sessions[model] = open_unplanned(str(path), key=self.key)
        return [to_numpy(value) for value in self.sessions[model].run(None, inputs)]

    def close(self):
        for session in self.sessions.values():
            session.close()


@pytest.mark.parametrize("case", CASES)
def test_the_sealed_stream_gives_the_known_answers(case, key_path, tmp_path):
    if case.fetched:
        zoo.fetch(case.fetched, str(FETCHED))
    run = Sealed(case.prepare(FETCHED, tmp_path), inferonnx.Key.load(key_path), tmp_path)
    try:
        differences = {pair.what: pair.difference() for pair in case.compare(run, case.answers())}
    finally:
        run.close()
    assert differences
    assert max(differences.values()) < trained.TOLERANCE, differences


class Chained:
    """Cuts a model into plain ONNX files on its first inputs, compares, and runs the chain."""

    def __init__(self, paths, strategy, folder):
        self.paths, self.strategy, self.folder, self.sessions = paths, strategy, folder, {}

    def __call__(self, model, inputs):
        if model not in self.sessions:
            path, folder = str(self.paths[model]), str(self.folder / f"{Path(model).stem}.parts")
            done = partition(path, folder, strategy=self.strategy, sample=dict(inputs))
            _, difference = verify_partitions(path, folder, samples=[dict(inputs)])
            check_partitions_agree(difference)
            self.sessions[model] = ChainSession(done.chain)
        outputs = self.sessions[model].run(inputs).outputs
        return [outputs[name] for name in self.sessions[model].output_names]


@pytest.mark.parametrize("strategy", ["paper", "operators"])
@pytest.mark.parametrize("case", CASES)
def test_the_partitions_give_the_known_answers(case, strategy, tmp_path):
    if case.fetched:
        zoo.fetch(case.fetched, str(FETCHED))
    run = Chained(case.prepare(FETCHED, tmp_path), strategy, tmp_path)
    differences = {pair.what: pair.difference() for pair in case.compare(run, case.answers())}
    assert differences
    assert max(differences.values()) < trained.TOLERANCE, differences
