"""Servers that many tests ask, and what stands in their folders."""

import numpy as np
import pytest

import inferonnx
from served import Served
from serving import models

BATCH = 20
"""Rows that models with a free first axis are sealed for."""


@pytest.fixture(scope="session")
def key(key_path):
    return inferonnx.Key.load(key_path)


@pytest.fixture(scope="session")
def sealed(key, cnn, tmp_path_factory):
    """Sealed files by name: of every type, of strings, of a free batch, a slow and a greedy one."""
    folder = tmp_path_factory.mktemp("models")
    numbers = {f"in_{word}": array for word, array in models.extremes().items()}
    return {
        "cnn": models.seal(cnn, folder, key, dims={"batch": BATCH}),
        "numbers": models.seal(
            models.numbers(folder / "numbers.onnx"), folder, key, sample=numbers
        ),
        "texts": models.seal(models.texts(folder / "texts.onnx"), folder, key, dims={"n": BATCH}),
        "tireless": models.seal(models.tireless(folder / "tireless.onnx"), folder, key),
        "untiring": models.seal(models.tireless(folder / "untiring.onnx"), folder, key),
        "patient": models.seal(models.patient(folder / "patient.onnx"), folder, key),
        "talkative": models.seal(
            models.talkative(folder / "talkative.onnx"),
            folder,
            key,
            sample={"n": np.array([models.MANY])},
        ),
        "swelling": models.seal(
            models.swelling(folder / "swelling.onnx"),
            folder,
            key,
            sample={name: np.array([4]) for name in ("hidden", "shown")},
        ),
    }


@pytest.fixture(scope="session")
def start(sealed, key, key_path, tmp_path_factory):
    """Start a server of the owner's: models of `sealed` and at `paths`, unlocked."""
    started = []

    def serve(*names, paths=(), options=(), owner=key.public_key, **more):
        folder = tmp_path_factory.mktemp("served")
        models.stock(folder / "repo", *(sealed[name] for name in names), *paths)
        server = Served(
            *(folder, owner, *(("--key", key_path) if names else ()), *options),
            **more,
        )
        started.append(server)
        return server

    yield serve
    for server in started:
        server.kill()


@pytest.fixture(scope="module")
def served(start):
    """A server with all models, open to everybody who asks for an inference."""
    server = start(
        *("cnn", "numbers", "texts", "patient"),
        options=("--allow-anonymous-infer", "--log-format", "json"),
    )
    yield server
    assert server.end() == 0, server.log.read_text()
