"""One model's owner, operators and clients all at once: no wrong answer, nothing left behind."""

import os
import random
import threading
import time
from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

import inferonnx
from serving import models
from serving.running import until

STORM_S = 6


@pytest.fixture(scope="module")
def files(cnn, key, sealed, tmp_path_factory):
    """Models and sealed files of one name, by version: each answers something else."""
    folder = tmp_path_factory.mktemp("second")
    model = onnx.load(cnn)
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight)
        if array.dtype == np.float32:
            weight.CopyFrom(numpy_helper.from_array(array * np.float32(1.5), weight.name))
    second = folder / "cnn.onnx"
    onnx.save(model, second)
    return {1: (cnn, sealed["cnn"]), 2: (second, models.seal(second, folder, key))}


class Storm:
    """What everybody does to the two versions, until it is over.

    Attributes:
        found: How often what was done, and what was refused.
        wrong: What must not be.
    """

    def __init__(self, server, key, files, image):
        self.server, self.key, self.image = server, key, image
        self.sealed = {version: sealed for version, (_, sealed) in files.items()}
        self.expected = {
            version: ort.InferenceSession(model).run(None, {"image": image})[0]
            for version, (model, _) in files.items()
        }
        self.found, self.wrong = Counter(), []
        self.ends = time.monotonic() + STORM_S

    def client(self):
        at, token = self.server, self.server.token()
        return inferonnx.Client(at.url, ca=at.ca, token=token, insecure_no_attestation=True)

    def blow(self, *works):
        threads = [
            threading.Thread(target=self._repeat, args=(work, seed))
            for seed, work in enumerate(works)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _repeat(self, work, seed):
        chance = random.Random(seed)
        with self.client() as client:
            while time.monotonic() < self.ends:
                try:
                    work(client, chance)
                    self.found[work.__name__] += 1
                except inferonnx.InferonnxError as error:
                    self.found[work.__name__, error.message] += 1
                except Exception as error:
                    self.wrong.append(repr(error))
                    raise
                time.sleep(0.003 * chance.random())

    def infer(self, client, chance):
        version = chance.choice([1, 2])
        (found,) = client.infer("cnn", {"image": self.image}, version=version).values()
        if not np.allclose(found, self.expected[version], rtol=1e-4, atol=1e-5):
            self.wrong.append(f"version {version} answered something else")

    def operate(self, client, chance):
        time.sleep(0.1)
        chance.choice([client.load, client.load, client.unload])("cnn")

    def own(self, client, chance):
        version = chance.choice([1, 2])
        sealed = self.sealed[version]
        match chance.randrange(5):
            case 0:
                client.delete("cnn", version, key=self.key)
            case 1 | 2:
                client.push(sealed, key=self.key, version=version)
            case _:
                client.unlock("cnn", sealed, key=self.key, version=version)

    def look(self, client, _chance):
        for model in client.models():
            usual = {"ready": "", "locked": "its owner has not unlocked it since it was loaded"}
            if usual.get(model.state) != model.reason:
                self.wrong.append(f"{model.state}: {model.reason}")


def test_a_storm(start, key, files, image):
    server = start(options=("--allow-anonymous-infer", "--log-format", "json"))
    storm = Storm(server, key, files, image)

    def n_open():
        return len(os.listdir(f"/proc/{server.process.pid}/fd"))

    with storm.client() as client:
        assert client.models() == []
        before = n_open()
        for version, sealed in storm.sealed.items():
            client.push(sealed, key=key, version=version)
            client.unlock("cnn", sealed, key=key, version=version)
        storm.blow(*[storm.infer] * 3, storm.operate, *[storm.own] * 3, storm.look)
        assert storm.wrong == []
        assert {"infer", "operate", "own", "look"} <= storm.found.keys(), storm.found
        for model in client.models():
            client.delete("cnn", model.version, key=key)
        assert client.models() == []
        for version, sealed in storm.sealed.items():
            client.push(sealed, key=key, version=3 - version)
        assert {model.state for model in client.models()} == {"locked"}
        until(lambda: n_open() == before)
    left = os.listdir(server.repository / ".uploads") + os.listdir(server.repository / ".trash")
    assert [entry for entry in left if not entry.endswith(".json")] == []
    assert '"bug"' not in server.log.read_text()
    assert server.end() == 0
