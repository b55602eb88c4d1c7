"""Trained models give their known answers when every weight is streamed from a sealed file."""

import os
from pathlib import Path

import pytest

import inferonnx
from golden import trained
from inferonnx import zoo
from inferonnx.app.host.arrays import to_numpy
from inferonnx.app.host.opening import open_unplanned

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
