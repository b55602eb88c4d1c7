"""What the host can read of a server: its log and its files. No secret is in either."""

import json
import os
import resource
import signal
import struct
import subprocess
from base64 import b64encode

import numpy as np
import pytest

import inferonnx
from inferonnx.app.relying.owned import OwnedFile
from serving.asking import connection

MARK = 0.123456789
"""In every tensor that is sent; what is computed from it is looked for too."""

INNER_NAMES = (
    *("secret_head", "secret_graph", "secret_body", "secret_weight"),
    *("conv0", "conv3", "pool", "dense", "square_in", "the tests"),
)
"""Names and metadata from inside the models."""

WORDS = "a client's own words, in a tensor of strings"


@pytest.fixture(scope="module")
def used(start, sealed, key):
    """A server that has done everything, the wrong things too, and ended; and the secrets."""
    server = start(options=("--log-level", "debug", "--log-format", "json"))
    names = ("cnn", "texts", "patient")
    secrets = {"the owner's signing seed": key.owner.signing_seed.reveal()}
    secrets["the owner's wrapping key"] = key.owner.wrap_secret.reveal()
    for name in names:
        with OwnedFile(sealed[name], key) as owned:
            secrets[f"the data key of {name}"] = bytes(owned.data_key.reveal())
    image = np.full((1, 3, 16, 16), MARK, np.float32)
    with inferonnx.Client(
        server.url, ca=server.ca, token=server.token(), insecure_no_attestation=True
    ) as client:
        for name in names:
            client.push(sealed[name], key=key)
            client.unlock(name, sealed[name], key=key)
        scores = client.infer("cnn", {"image": image})["scores"]
        texts = np.array([WORDS], object)
        client.infer("texts", {"left": texts, "right": texts})
        client.infer("patient", {"turns": np.array(3, np.int64)})
        for bad in (
            {"image": image.astype(np.float64)},
            {"image": np.full((900, 3, 16, 16), MARK, np.float32)},
            {WORDS: image},
        ):
            with pytest.raises(inferonnx.InferonnxError):
                client.infer("cnn", bad)
        client.unload("cnn")
        client.unlock("cnn", sealed["cnn"], key=key)
        client.infer("cnn", {"image": image})
    _say_wrong_things(server, image)
    for role in server.tokens:
        secrets[f"the token of {role}"] = server.token(role).split("_", 2)[2].encode()
    assert server.end() == 0
    number = np.float32(MARK)
    secrets["an input"] = struct.pack("<f", number) * 4
    secrets["an output"] = scores.tobytes()[:8]
    for value in (number, *scores[0][:3]):
        secrets[f"{value} in decimal"] = repr(float(value))[:8].encode()
    return server, secrets


def _say_wrong_things(server, image):
    """Requests of which every part holds what must not be repeated."""
    client = connection(server)
    wrong = [
        ("POST", f"/v2/models/{MARK}/infer", image.tobytes(), {}),
        ("POST", "/v2/models/cnn/infer", image.tobytes(), {"Inference-Header-Content-Length": "0"}),
        ("POST", "/v2/models/cnn/infer", json.dumps({"inputs": [{"name": WORDS}]}).encode(), {}),
        ("POST", "/v2/models/cnn/infer", f'{{"inputs": "{WORDS}", {MARK}}}'.encode(), {}),
        ("GET", f"/v2/models/cnn?{MARK}", b"", {"X-Something": WORDS}),
        ("GET", "/v2/models/cnn", b"", {"Authorization": f"Bearer {WORDS}"}),
        ("BREW", f"/{MARK}", b"", {"Inferonnx-Owner": WORDS}),
    ]
    for method, path, body, headers in wrong:
        client.request(method, path, body, {**server.bearer(), **headers})
        client.getresponse().read()
    client.close()


def forms(secret):
    """Return how a secret might have been written."""
    return (secret, secret.hex().encode(), b64encode(secret)[:-4])


def written_files(server):
    """Return everything that a server wrote, its log too; sealed files are the owner's."""
    return {
        path: path.read_bytes()
        for path in server.folder.rglob("*")
        if path.is_file() and path.suffix not in (".token", ".toml")
    }


def test_no_file_holds_a_secret(used, sealed):
    server, secrets = used
    files = written_files(server)
    kinds = {path.name for path in files}
    assert {"log", "server.pem", "model.sealed", "owner"} <= kinds
    given = {path.read_bytes() for path in sealed.values()}
    for path, content in files.items():
        for what, secret in secrets.items():
            for form in forms(secret):
                assert form not in content, f"{what} is in {path}"
        assert WORDS.encode() not in content, path
        assert content in given or path.name != "model.sealed"
        for name in INNER_NAMES:
            assert name.encode() not in content, f"{name} is in {path}"
        assert b"PRIVATE KEY" not in content


def test_the_log_tells_the_rest(used):
    """The search would find what is there: routes, models, callers, sizes."""
    server, _ = used
    lines = [json.loads(x) for x in server.log.read_text().splitlines() if x.startswith("{")]
    assert not [line for line in lines if line["event"] == "bug"]
    asked = [line for line in lines if line["event"] == "request"]
    assert {"/v2/models/{name}/infer", "/inferonnx/v1/models/{name}/versions/{version}/unlock"} <= {
        line.get("path") for line in asked
    }
    assert {"cnn", "texts", "patient"} <= {line.get("model") for line in asked}
    assert any(line.get("caller", "").startswith("token ") for line in asked)
    assert any(line.get("caller") == "owner" for line in asked)
    assert {line["status"] for line in asked} >= {200, 201, 204, 400, 401, 404, 413}
    answered = [line for line in asked if line.get("engine_ms")]
    assert len(answered) >= 4
    assert all(0 < line["engine_ms"] <= line["ms"] for line in answered)


def test_no_metric_and_no_list_holds_a_name_from_inside(start, image):
    server = start("cnn", "patient")
    for path, role in (
        ("/metrics", "metrics"),
        ("/inferonnx/v1/status", "metrics"),
        ("/inferonnx/v1/models", "manage"),
        ("/v2/models/stats", "infer"),
    ):
        status, _, body = server.asked(path, role=role)
        assert status == 200
        assert b"cnn" in body
        for name in (*INNER_NAMES, "image", "scores"):
            assert name.encode() not in body, f"{name} is in {path}"
    assert server.end() == 0


@pytest.fixture
def core_files():
    """Cores for everybody who does not refuse; skips where the system has none."""
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, limits)


def crashed(process):
    """Let a process crash; return whether it left a core."""
    process.send_signal(signal.SIGSEGV)
    _, status = os.waitpid(process.pid, 0)
    assert os.WTERMSIG(status) == signal.SIGSEGV
    return os.WCOREDUMP(status)


def test_no_core_is_dumped(start, core_files, tmp_path):
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as other:
        if not crashed(other):
            pytest.skip("no process leaves a core here: the hard limit, or core_pattern")
    server = start("cnn")
    assert not crashed(server.process)
