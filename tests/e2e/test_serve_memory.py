"""A server keeps to `--memory`, as the kernel counts from outside, whatever its clients do."""

import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest

import inferonnx
from conftest import small_cnn
from inferonnx import zoo
from inferonnx.sizes import MIB, format_size
from machine import MODELS
from served import PATIENCE_S
from serving import models
from serving.asking import connection

BESIDE_BYTES = 24 * MIB
"""What `wide` has beside the server: too little for both models, so that each is closed for
the other, again and again."""

N_CLIENTS = 8
N_REQUESTS = 12


@pytest.fixture(scope="module")
def floor_bytes(start):
    """What the server takes by itself: Debian's Python 2 MiB more than one that was built here."""
    server = start()
    assert server.end() == 0
    return server.facts["floor_bytes"]


@pytest.fixture(scope="module")
def wide(key, tmp_path_factory):
    """Two sealed models of 4 MB."""
    folder = tmp_path_factory.mktemp("wide")
    return [
        models.seal(small_cnn(folder / f"wide{i}.onnx", channels=200), folder, key, memory="72MiB")
        for i in range(2)
    ]


def test_eight_clients_two_models_and_a_push(start, wide, sealed, key, floor_bytes):
    budget_bytes = floor_bytes + BESIDE_BYTES
    server = start(options=("--allow-anonymous-infer", "--memory", str(budget_bytes)))
    with inferonnx.Client(server.url, ca=server.ca, insecure_no_attestation=True) as owner:
        for path in wide:
            owner.push(path, key=key)
            owner.unlock(path.stem, path, key=key)
        stop = threading.Event()
        pushing = threading.Thread(
            target=push_over_and_over, args=(owner, sealed["cnn"], key, stop)
        )
        pushing.start()
        clients = [Client(server, number) for number in range(N_CLIENTS)]
        for client in clients:
            client.join(PATIENCE_S)
        stop.set()
        pushing.join(PATIENCE_S)
    assert [client.failed for client in clients] == [None] * N_CLIENTS
    assert sum(client.n_answers for client in clients) == N_CLIENTS * N_REQUESTS
    assert server.status("VmHWM") <= budget_bytes
    assert sum(model_bytes(server)) <= server.facts["models_bytes"]
    assert server.end() == 0


def model_bytes(server):
    """Return the shares of all models, as the server tells them."""
    body = server.asked("/metrics", role="metrics")[2].decode()
    lines = [x for x in body.splitlines() if x.startswith("inferonnx_model_share_bytes{")]
    assert lines
    return [float(line.split()[-1]) for line in lines]


def push_over_and_over(owner, path, key, stop):
    while not stop.is_set():
        name, version = owner.push(path, key=key)
        owner.delete(name, version, key=key, sealed=path)


class Client(threading.Thread):
    """Asks both models in turn, in both forms, and says wrong things in between."""

    def __init__(self, server, number):
        super().__init__()
        self._server, self._number = server, number
        self.n_answers, self.failed = 0, None
        self.start()

    def run(self):
        client = connection(self._server)
        try:
            for n in range(N_REQUESTS):
                self._ask(client, n + self._number)
                self.n_answers += 1
        except BaseException as error:
            self.failed = error
        client.close()

    def _ask(self, client, n):
        image = np.random.default_rng(n).standard_normal((1, 3, 16, 16)).astype(np.float32)
        path = f"/v2/models/wide{n // 5 % 2}/infer"
        if n % 3:
            client.request("POST", path, image.tobytes(), {"Inference-Header-Content-Length": "0"})
        else:
            tensor = {"name": "image", "shape": image.shape, "datatype": "FP32"}
            body = {"inputs": [{**tensor, "data": image.ravel().tolist()}]}
            client.request("POST", path, json.dumps(body))
        reply = client.getresponse()
        content = reply.read()
        assert reply.status == 200, content
        if n % 7 == 0:  # too much for one, and a lie
            client.request("POST", path, bytes(MIB), {"Inference-Header-Content-Length": "9"})
            reply = client.getresponse()
            assert reply.status in (400, 413), reply.read()
            reply.read()


@pytest.fixture(scope="module")
def heavy(key, sealed_deep, tmp_path_factory):
    """A model whose passes take most, one whose weights do; each with an input as bytes."""
    folder = tmp_path_factory.mktemp("heavy")
    wide = small_cnn(folder / "wide.onnx", channels=512)
    image_bytes = 3 * 16 * 16 * 4
    return {
        "deep": (sealed_deep, bytes(512 * image_bytes)),
        "wide": (models.seal(wide, folder, key, memory="400MiB"), bytes(image_bytes)),
    }


def test_models_that_take_turns_leave_nothing_behind(start, heavy, key, floor_bytes):
    """Weights and the arena of the one go before the other's come: 33 and 27 MiB.

    Outputs of calls that others wait behind stay for no moment in the arena: it took 49.
    """
    peak = check_turns(start, heavy, key, floor_bytes + 62 * MIB, n_turns=6)
    assert peak < floor_bytes + 52 * MIB  # one more of the chunks that were lost is 16


@pytest.mark.parametrize("kind", ["hidden", "binary", "json", "gzip"])
def test_passes_beside_weights_that_ask_for_all_memory(start, heavy, sealed, key, kind):
    """They may have what weights leave, and models that ask for no more than theirs are served.

    What is asked for stays inside a pass, or is sent in each of the ways that there are.
    """
    path, image = heavy["wide"]
    server = start(options=("--allow-anonymous-infer", "--memory", str(128 * MIB)))
    with inferonnx.Client(server.url, ca=server.ca, insecure_no_attestation=True) as owner:
        for one in (path, sealed["swelling"]):
            owner.push(one, key=key)
            owner.unlock(one.stem, one, key=key)
    ask = connection(server)

    def status(name, body, **headers):
        ask.request("POST", f"/v2/models/{name}/infer", body, headers)
        reply = ask.getresponse()
        reply.read()
        return reply.status

    image_head = {"Inference-Header-Content-Length": "0"}
    accepted = {"Accept-Encoding": "gzip"} if kind == "gzip" else {}
    found = []
    for mib in (1, *range(8, 72, 8)):
        assert status("wide", image, **image_head) == 200
        given = {"shape": [1], "datatype": "INT64"}
        sizes = [{"name": n, **given, "data": [4]} for n in models.SIZES]
        sizes[0 if kind == "hidden" else 1]["data"] = [mib << 18]
        body = {"inputs": sizes, "parameters": {"binary_data_output": kind == "binary"}}
        found.append(status("swelling", json.dumps(body), **accepted))
    ask.close()
    assert found[0] == 200
    # What is to be sent may find no room in the arena, or be more than outputs may be.
    assert found[-1] in ((503,) if kind == "hidden" else (413, 503))
    assert server.status("VmHWM") <= 128 * MIB
    assert server.end() == 0


@pytest.mark.slow
def test_large_models_that_take_turns(start, key, tmp_path):
    """They took 116 MiB, when a heap kept what the arena of the other had held."""
    large = {
        name: (
            models.seal(Path(zoo.build(name, MODELS).path), tmp_path, key, memory="72MiB"),
            bytes(3 * 224 * 224 * 4),
        )
        for name in ("resnet152-v2-7", "squeezenet1.0-7")
    }
    check_turns(start, large, key, 96 * MIB, n_turns=60)


def check_turns(start, files, key, budget_bytes, *, n_turns):
    """Have four clients ask both models in turn, two the other first; return the peak."""
    server = start(options=("--allow-anonymous-infer", "--memory", str(budget_bytes)))
    with inferonnx.Client(server.url, ca=server.ca, insecure_no_attestation=True) as owner:
        for name, (path, _) in files.items():
            owner.push(path, key=key)
            owner.unlock(name, path, key=key)
    failed = []

    def ask(names):
        client = connection(server)
        for name in names * (n_turns // 2):
            headers = {"Inference-Header-Content-Length": "0"}
            client.request("POST", f"/v2/models/{name}/infer", files[name][1], headers)
            reply = client.getresponse()
            if reply.status != 200:
                failed.append(reply.read())
            reply.read()
        client.close()

    first, second = files
    orders = [[first, second], [second, first]] * 2
    clients = [threading.Thread(target=ask, args=(names,)) for names in orders]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert failed == []
    peak = server.status("VmHWM")
    assert peak <= budget_bytes
    assert server.end() == 0
    return peak


def test_the_budget_is_divided_as_it_is_told(start):
    server = start("cnn", options=("--memory", "96MiB"))
    facts = server.facts
    assert facts["memory_bytes"] == 96 * MIB
    parts = facts["floor_bytes"] + facts["requests_bytes"] + facts["models_bytes"]
    assert parts < facts["memory_bytes"]
    assert facts["least_bytes"] <= facts["memory_bytes"]
    assert server.end() == 0
    told = re.search(r"memory +(.*)", server.log.read_text())[1]
    budget, *parts = [float(n) for n in re.findall(r"([\d.]+) MiB", told)]
    assert budget == 96
    assert len(parts) == 4
    assert abs(sum(parts) - budget) < 0.3  # each is rounded
    assert re.search(r"least +[\d.]+ MiB for the largest model", server.log.read_text())


def test_what_is_told_as_least_is_enough_whatever_was_given(start):
    generous = start("cnn", options=("--memory", "1GiB"))
    least = generous.facts["least_bytes"]
    assert least < 96 * MIB  # of 1 GiB requests have 64 MiB, and need 4
    assert generous.end() == 0
    tight = start("cnn", options=("--memory", str(least + MIB)))  # floors differ a little
    assert tight.facts["models"] == {"ready": 1}
    assert tight.end() == 0


def test_what_is_least_is_told_before_there_is_a_model(start):
    server = start(options=("--memory", "1GiB"))
    assert server.facts["least_bytes"] is None
    least = server.facts["server_bytes"]
    assert least < 64 * MIB
    assert f"least        {format_size(least)}, and what" in server.log.read_text()
    assert server.end() == 0


def test_a_budget_that_holds_no_server_is_refused(start):
    with pytest.raises(AssertionError, match="the server alone needs"):
        start(options=("--memory", "40MiB"))


def test_a_model_that_does_not_fit_is_said_at_unlock(start, wide, key):
    server = start(options=("--memory", "52MiB"))
    with inferonnx.Client(
        server.url, ca=server.ca, token=server.token(), insecure_no_attestation=True
    ) as owner:
        owner.push(wide[0], key=key)
        with pytest.raises(inferonnx.InferonnxError) as caught:
            owner.unlock("wide0", wide[0], key=key)
        assert "more" in str(caught.value) + caught.value.hint
        assert owner.models()[0].state == "locked"
    assert server.end() == 0
