"""Both clients, against a server that speaks the protocol by the server's own codec."""

import json

import pytest

from inferonnx.client.async_client import AsyncClient
from inferonnx.client.client import Client
from inferonnx.errors import ExitCode, ModelNameError, TensorError, UsageError
from inferonnx.oip import (
    BadReplyError,
    InferResponse,
    NamedTensor,
    NotFoundError,
    UnauthenticatedError,
    encode_infer_response,
    parse_header_length,
    parse_infer_request,
)
from inferonnx.tensors import DType, Tensor
from scripted import answering


def floats(*values, shape=None):
    import array

    return Tensor(
        dtype=DType.FLOAT, shape=shape or (len(values),), data=array.array("f", values).tobytes()
    )


class Model:
    """Answers infer requests; keeps them as they were parsed."""

    def __init__(self, *outputs):
        self.outputs = outputs
        self.requests = []

    def __call__(self, link):
        while (asked := link.request()) is not None:
            length = asked.headers.get("inference-header-content-length")
            request = parse_infer_request(
                asked.body,
                model_name="m",
                header_length=parse_header_length(length, len(asked.body)),
            )
            self.requests.append(request)
            pieces, length, kind = encode_infer_response(
                InferResponse(model_name="m", model_version="1", outputs=self.outputs), request
            )
            headers = {"Content_Type": kind}
            if length is not None:
                headers["Inference_Header_Content_Length"] = str(length)
            link.reply(200, b"".join(pieces), **headers)


def test_tensors_go_and_come_in_binary(serve, connect):
    model = Model(
        NamedTensor(name="y", tensor=floats(1, 2, 3, 4, shape=(2, 2))),
        NamedTensor(name="s", tensor=Tensor(dtype=DType.STRING, shape=(1,), strings=["ok\udcff"])),
    )
    server = serve(model)
    big = floats(*range(5000))
    got = connect(server).infer("m", {"x": big, "t": ["a", "ü"]})
    assert got == {"y": model.outputs[0].tensor, "s": model.outputs[1].tensor}
    (request,) = model.requests
    assert {n.name: n.tensor for n in request.inputs} == {
        "x": big,
        "t": Tensor(dtype=DType.STRING, shape=(2,), strings=["a", "ü"]),
    }
    assert request.binary_output_default
    assert not request.outputs
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/v2/models/m/infer")
    assert asked.headers["content-type"] == "application/octet-stream"


def test_a_version_and_outputs_may_be_asked_for_and_the_time_is_told(serve, connect):
    model = Model(NamedTensor(name="y", tensor=floats(1)), NamedTensor(name="z", tensor=floats(2)))
    server = serve(model)
    got = connect(server).infer("m", {"x": floats(1)}, version=7, outputs=["z"], timeout=12)
    assert list(got) == ["z"]
    assert server.asked[0].path == "/v2/models/m/versions/7/infer"
    assert model.requests[0].timeout_us == 12_000_000
    assert model.requests[0].outputs[0].binary


def test_a_name_is_one_segment_of_the_path(serve, connect):
    model = Model(NamedTensor(name="y", tensor=floats(1)))
    server = serve(model)
    client = connect(server)
    client.infer("a b?ü", {"x": floats(1)})
    assert server.asked[0].path == "/v2/models/a%20b%3F%C3%BC/infer"
    for name in ("", ".", "..", "a/b", "a\0", "\ud800"):
        with pytest.raises(ModelNameError):
            client.infer(name, {"x": floats(1)})
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"inputs": {"x": object()}}, TensorError),
        ({"inputs": {}, "outputs": []}, UsageError),
        ({"inputs": {}, "outputs": ["y", "y"]}, UsageError),
        ({"inputs": {}, "version": "0"}, ModelNameError),
        ({"inputs": {}, "version": "../1"}, ModelNameError),
    ],
)
def test_arguments_are_checked_before_anything_is_sent(serve, connect, arguments, error):
    server = serve(answering((200, b"")))
    with pytest.raises(error):
        connect(server).infer("m", **arguments)
    assert server.n_connections == 0


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"{}", {}),
        (b'{"model_name":"m","outputs":[]}', {}),
        (b'{"outputs":[]}', {"Inference_Header_Content_Length": "x"}),
        (b'{"outputs":[]}', {"Inference_Header_Content_Length": "99"}),
        (b'{"outputs":[{"name":"y","datatype":"FP32","shape":[9],"data":[1]}]}', {}),
    ],
)
def test_an_answer_that_breaks_the_protocol_is_refused(serve, connect, body, headers):
    with pytest.raises(BadReplyError):
        connect(serve(answering((200, body, headers)))).infer("m", {"x": floats(1)}, outputs=["y"])


def test_a_servers_refusal_is_an_error_of_ours(serve, connect):
    body = json.dumps({"error": "Request for unknown model: 'm' is not found"}).encode()
    with pytest.raises(NotFoundError, match="unknown model: 'm'") as caught:
        connect(serve(answering((404, body)))).infer("m", {"x": floats(1)})
    assert caught.value.exit_code is ExitCode.BAD_INPUT


def document(value):
    return (200, json.dumps(value).encode())


@pytest.mark.parametrize(
    ("call", "reply", "asked", "result"),
    [
        (lambda c: c.live(), (200, b""), ("GET", "/v2/health/live"), True),
        (lambda c: c.live(), (503, b""), ("GET", "/v2/health/live"), False),
        (lambda c: c.ready(), (200, b""), ("GET", "/v2/health/ready"), True),
        (lambda c: c.ready(), (400, b""), ("GET", "/v2/health/ready"), False),
        (lambda c: c.ready("m"), (200, b""), ("GET", "/v2/models/m/ready"), True),
        (lambda c: c.ready("m", 2), (503, b""), ("GET", "/v2/models/m/versions/2/ready"), False),
        (lambda c: c.metadata(), document({"name": "s"}), ("GET", "/v2"), {"name": "s"}),
        (lambda c: c.metadata("m", "3"), document({}), ("GET", "/v2/models/m/versions/3"), {}),
        (lambda c: c.config("m"), document({}), ("GET", "/v2/models/m/config"), {}),
        (
            lambda c: c.statistics(),
            document({"model_stats": [{"name": "m"}]}),
            ("GET", "/v2/models/stats"),
            [{"name": "m"}],
        ),
        (
            lambda c: c.statistics("m"),
            document({"model_stats": []}),
            ("GET", "/v2/models/m/stats"),
            [],
        ),
        (
            lambda c: c.index(),
            document([{"name": "m"}]),
            ("POST", "/v2/repository/index"),
            [{"name": "m"}],
        ),
        (lambda c: c.load("m"), (200, b""), ("POST", "/v2/repository/models/m/load"), None),
        (lambda c: c.unload("m"), (200, b""), ("POST", "/v2/repository/models/m/unload"), None),
        (lambda c: c.csr(), (200, b"PEM"), ("GET", "/inferonnx/v1/csr"), b"PEM"),
        (
            lambda c: c.install_certificate(b"PEM"),
            (204, b""),
            ("PUT", "/inferonnx/v1/certificate"),
            None,
        ),
    ],
)
def test_what_else_can_be_asked(serve, connect, call, reply, asked, result):
    server = serve(answering(reply))
    assert call(connect(server)) == result
    assert server.asked[0][:2] == asked


def test_the_index_can_be_of_what_is_ready(serve, connect):
    server = serve(answering(document([])))
    assert connect(server).index(ready=True) == []
    assert json.loads(server.asked[0].body) == {"ready": True}


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.metadata(),
        lambda c: c.statistics(),
        lambda c: c.index(),
        lambda c: c.models(),
        lambda c: c.status(),
    ],
)
def test_json_of_another_form_is_refused(serve, connect, call):
    with pytest.raises(BadReplyError, match="form"):
        call(connect(serve(answering((200, b"[5]" if call else b"")))))


def test_a_missing_role_is_told(serve, connect):
    body = b'{"error":"this needs a token with the role manage"}'
    with pytest.raises(UnauthenticatedError, match="the role manage") as caught:
        connect(serve(answering((401, body)))).unload("m")
    assert caught.value.exit_code is ExitCode.REFUSED


def test_a_prefix_stands_before_every_path(serve, certificate):
    server = serve(answering((200, b"")))
    url = server.url() + "/some/prefix"
    with Client(url, ca=certificate.ca, insecure_no_attestation=True) as client:
        assert client.live()
        assert client.address.prefix == "/some/prefix"
        assert repr(client) == f"Client({url!r})"
    assert server.asked[0].path == "/some/prefix/v2/health/live"


def test_no_secret_shows(certificate):
    for kind in (Client, AsyncClient):
        client = kind("https://localhost", ca=certificate.ca, token="ifx_secret")
        assert "secret" not in repr(client)
        assert "secret" not in repr(client._target)
