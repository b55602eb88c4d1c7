"""Each method's answer, by messages of our own codec; tests/e2e asks with Triton's client."""

import array
import time
from unittest.mock import ANY

import pytest

from inferonnx.errors import SealedFormatError
from inferonnx.oip import InferRequest, NamedTensor
from inferonnx.oip import grpc as codec
from inferonnx.oip.grpc.pool import message_class
from inferonnx.server.grpc.framing import encode_prefix
from inferonnx.server.grpc.limits import AT_ONCE
from inferonnx.server.grpc.methods import ENDPOINTS
from inferonnx.sizes import MIB
from inferonnx.tensors import DType, Tensor
from serving.h2_client import H2Client
from serving.questions import answered, question
from serving.running import until


def ask(client, method, **document):
    takes, gives = codec.METHODS[f"/{codec.SERVICE}/{method}"]
    reply = client.call(method, codec.encode_message(takes, document))
    if reply.status:
        return reply.status
    (message,) = reply.messages
    return codec.parse_message(gives, message)


def test_every_method_of_the_protocol_is_there():
    assert {path.rpartition("/")[2] for path in codec.METHODS} == set(ENDPOINTS)


def test_health(server, client):
    assert ask(client, "ServerLive") == {"live": True}
    assert ask(client, "ServerReady") == {"ready": True}
    server.parts.context.is_draining = True
    assert ask(client, "ServerLive") == {"live": True}
    assert ask(client, "ServerReady") == {"ready": False}


@pytest.mark.parametrize("service", ["", codec.SERVICE, codec.HEALTH_SERVICE])
def test_the_health_service_is_asked_for_each_service(server, client, service):
    def check():
        message = codec.encode_message("HealthCheckRequest", {"service": service})
        (answer,) = client.call("/grpc.health.v1.Health/Check", message).messages
        return codec.parse_message("HealthCheckResponse", answer)

    assert check() == {"status": "SERVING"}
    server.parts.context.is_draining = True
    assert check() == {"status": "NOT_SERVING"}


def test_an_unknown_service_has_no_health(client):
    message = codec.encode_message("HealthCheckRequest", {"service": "other"})
    assert client.call("/grpc.health.v1.Health/Check", message).status == 5


def test_metadata(client):
    found = ask(client, "ServerMetadata")
    assert (found["name"], found["version"]) == ("inferonnx", "0")
    assert "statistics" in found["extensions"]
    found = ask(client, "ModelMetadata", name="float")
    tensor = {"datatype": "FP32", "shape": [-1, -1]}
    assert found == {
        "name": "float",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", **tensor}],
        "outputs": [{"name": "y", **tensor}],
    }


def test_models_by_version(start):
    server = start(kinds=())
    server.run(server.parts.unlock("float", versions=(1, 3)))
    server.parts.add("float", 7)  # locked
    with H2Client(server) as client:
        assert ask(client, "ModelMetadata", name="float")["versions"] == ["1", "3"]
        assert ask(client, "ModelMetadata", name="float", version="3")["versions"] == ["3"]
        assert ask(client, "ModelReady", name="float") == {"ready": True}
        assert ask(client, "ModelReady", name="float", version="1") == {"ready": True}
        assert ask(client, "ModelReady", name="float", version="7") == {"ready": False}
        assert ask(client, "ModelReady", name="float", version="2") == {"ready": False}
        assert ask(client, "ModelReady", name="float", version="one") == 3
        assert ask(client, "ModelReady", name="other") == {"ready": False}
        assert ask(client, "ModelMetadata", name="float", version="7") == 14
        message, _ = question(model_version="1")
        (answer,) = client.call("ModelInfer", message).messages
        assert codec.parse_infer_response(answer).model_version == "1"
        (answer,) = client.call("ModelInfer", question()[0]).messages
        assert codec.parse_infer_response(answer).model_version == "3"
        assert client.call("ModelInfer", question(model_version="7")[0]).status == 14


def test_configuration_and_statistics(client):
    config = ask(client, "ModelConfig", name="float")["config"]
    assert (config["name"], config["input"][0]["data_type"]) == ("float", "TYPE_FP32")
    before = ask(client, "ModelStatistics", name="float")["model_stats"]
    for _ in range(3):
        client.call("ModelInfer", question()[0])
    (after,) = ask(client, "ModelStatistics")["model_stats"]
    assert before[0]["inference_stats"]["queue"]["count"] == 0
    assert after["inference_stats"]["queue"]["count"] == 3
    assert after["inference_stats"]["success"]["count"] == 3
    assert ask(client, "ModelStatistics", name="other") == 5
    assert ask(client, "ModelStatistics", name="float", version="9") == 5


def test_the_repository_and_who_may_change_it(start):
    from inferonnx.control import Role, new_token

    text, entry = new_token(bytes(38), roles=(Role.MANAGE,), expires_s=1 << 40)
    server = start(config={"tokens": (entry,)})
    server.parts.add("int64")
    server.parts.add("bool", refusal=SealedFormatError("it is damaged"))
    with H2Client(server) as client:

        def manage(method, **document):
            takes, gives = codec.METHODS[f"/{codec.SERVICE}/{method}"]
            message = codec.encode_message(takes, document)
            reply = client.call(method, message, authorization=f"Bearer {text}")
            if reply.status:
                return reply.status
            return codec.parse_message(gives, reply.messages[0])

        index = manage("RepositoryIndex")["models"]
        assert [(m["name"], m["version"], m["state"], m["reason"]) for m in index] == [
            ("bool", "1", "UNAVAILABLE", "it is damaged"),
            ("float", "1", "READY", ""),
            ("int64", "1", "UNAVAILABLE", ANY),
        ]
        ready = manage("RepositoryIndex", ready=True)["models"]
        assert [m["name"] for m in ready] == ["float"]
        assert manage("RepositoryModelLoad", model_name="float") == {}
        assert manage("RepositoryModelLoad", model_name="int64") == 14
        assert manage("RepositoryModelLoad", model_name="other") == 5
        assert manage("RepositoryModelLoad", model_name="float", repository_name="r") == 12
        for name in ("config", "file:1/model.onnx"):
            overrides = {name: {"string_param": "{}"}}
            assert manage("RepositoryModelLoad", model_name="float", parameters=overrides) == 12
        assert manage("RepositoryModelUnload", model_name="other") == 5
        dependents = {"unload_dependents": {"bool_param": False}}
        assert manage("RepositoryModelUnload", model_name="float", parameters=dependents) == {}
        assert client.call("ModelInfer", question()[0]).status == 14
        assert ask(client, "ModelReady", name="float") == {"ready": False}


@pytest.mark.parametrize("kind", ["System", "Cuda"])
def test_shared_memory_is_none(client, kind):
    assert ask(client, f"{kind}SharedMemoryStatus") == {"regions": {}}
    assert ask(client, f"{kind}SharedMemoryUnregister") == {}
    assert ask(client, f"{kind}SharedMemoryRegister", name="a", byte_size=8) == 12


def test_settings_are_told_and_not_changed(start):
    from inferonnx.control import Role, new_token

    text, entry = new_token(bytes(38), roles=(Role.MANAGE,), expires_s=1 << 40)
    server = start(config={"tokens": (entry,)})
    with H2Client(server) as client:

        def manage(method, settings):
            takes, gives = codec.METHODS[f"/{codec.SERVICE}/{method}"]
            message = codec.encode_message(takes, {"settings": settings})
            reply = client.call(method, message, authorization=f"Bearer {text}")
            return reply.status or codec.parse_message(gives, reply.messages[0])["settings"]

        trace = manage("TraceSetting", {})
        assert trace["trace_level"] == {"value": ["OFF"]}
        assert manage("TraceSetting", {"trace_level": {"value": ["OFF"]}}) == trace
        assert manage("TraceSetting", {"trace_level": {"value": ["TIMESTAMPS"]}}) == 12
        log = manage("LogSettings", {})
        assert log["log_info"] == {"bool_param": True}
        assert manage("LogSettings", {"log_verbose_level": {"uint32_param": 1}}) == 12


# Inference.


def test_an_answer_repeats_the_request_s_id(client):
    (answer,) = client.call("ModelInfer", question(id="17")[0]).messages
    found = codec.parse_infer_response(answer)
    assert (found.id, found.model_name, found.model_version) == ("17", "float", "1")


@pytest.mark.parametrize(
    ("change", "status"),
    [({"model": "other"}, 5), ({"model_version": "9"}, 5), ({"model_version": "-1"}, 3)],
)
def test_a_request_for_what_is_not_there(client, change, status):
    assert client.call("ModelInfer", question(**change)[0]).status == status


def test_a_request_that_does_not_fit_the_model_is_invalid(client):
    tensor = Tensor(dtype=DType.INT32, shape=(1, 1), data=bytes(4))
    request = InferRequest(model_name="float", inputs=(NamedTensor(name="x", tensor=tensor),))
    reply = client.call("ModelInfer", b"".join(codec.encode_infer_request(request)))
    assert reply.status == 3


def with_lists(kind, datatype, **contents):
    """Return a request with its elements as a typed list."""
    message = message_class("ModelInferRequest")(model_name=kind)
    n = len(next(iter(contents.values())))
    message.inputs.add(name="x", datatype=datatype, shape=[1, n], contents=contents)
    return message.SerializeToString()


def test_typed_lists_are_read(start):
    server = start(kinds=("float", "int64", "string", "bool"))
    with H2Client(server) as client:
        floats = [i / 7 for i in range(1000)]
        found = answered(
            client.call("ModelInfer", with_lists("float", "FP32", fp32_contents=floats))
        )
        assert array.array("f", found) == array.array("f", floats)
        found = answered(
            client.call("ModelInfer", with_lists("int64", "INT64", int64_contents=range(1000)))
        )
        assert list(array.array("q", found)) == list(range(1000))


@pytest.mark.parametrize("n", [10, 20_000, 300_000])
def test_strings_of_any_number_are_read_and_counted(start, n):
    server = start(kinds=("string",), ledger_bytes=256 * MIB)
    strings = [b"%d" % (i % 10) for i in range(n)]
    with H2Client(server) as client:
        reply = client.call("ModelInfer", with_lists("string", "BYTES", bytes_contents=strings))
        assert reply.status == 0, reply.fields
        (answer,) = reply.messages
        found = codec.parse_infer_response(answer).outputs[0].tensor.strings
    assert [text.encode() for text in found] == strings


def test_lists_that_would_take_more_memory_than_there_is_are_refused(start):
    server = start(kinds=("string",), ledger_bytes=2 * MIB)
    message = with_lists("string", "BYTES", bytes_contents=[b"a"] * 200_000)
    with H2Client(server) as client:
        reply = client.call("ModelInfer", message)
        assert reply.status == 8  # RESOURCE_EXHAUSTED: it would be no other the next time
        assert "grpc-retry-pushback-ms" not in reply.fields


# Streams.


def stream(client, *messages, end=True):
    number = client.begin("ModelStreamInfer")
    for message in messages:
        client.send(number, encode_prefix(len(message)) + message)
    if end:
        client.h2.end_stream(number)
        client.flush()
    return number


def streamed(message):
    """Return the id that a streamed answer has, or its error."""
    found = message_class("ModelStreamInferResponse").FromString(message)
    assert found.infer_response.parameters["triton_final_response"].bool_param
    return found.error_message or found.infer_response.id


def test_a_stream_answers_in_order(client):
    messages = [question(n, id=str(n))[0] for n in range(1, 60)]
    reply = client.reply(stream(client, *messages))
    assert reply.status == 0
    assert [streamed(answer) for answer in reply.messages] == [str(n) for n in range(1, 60)]


def test_a_stream_stays_open_between_its_messages(start):
    server = start(grace_s=0.1)
    with H2Client(server) as client:
        number = stream(client, question(id="a")[0], end=False)
        client.receive_until(lambda: len(client.replies[number].messages) == 1)
        time.sleep(0.3)
        message = question(id="b")[0]
        client.send(number, encode_prefix(len(message)) + message, end=True)
        reply = client.reply(number)
        assert [streamed(answer) for answer in reply.messages] == ["a", "b"]
        assert reply.status == 0


def test_an_error_is_an_answer_and_the_stream_goes_on(client):
    messages = [
        question(id="1")[0],
        question(model="other")[0],
        b"\xff\xff",
        question(id="2")[0],
    ]
    reply = client.reply(stream(client, *messages))
    assert [streamed(answer) for answer in reply.messages] == [
        "1",
        "Request for unknown model: 'other' is not found",
        "the message is malformed: it can't be read as protobuf",
        "2",
    ]
    assert reply.status == 0


def test_an_empty_stream_is_empty(client):
    reply = client.reply(stream(client))
    assert (reply.status, reply.messages) == (0, [])


def test_requests_of_a_stream_are_computed_at_the_same_time_and_not_all_of_them(server, client):
    server.parts.engine.gate.clear()
    messages = [question(id=str(i))[0] for i in range(2 * AT_ONCE)]
    number = stream(client, *messages)
    until(lambda: server.parts.engine.n_runs == 2)  # as many as the engine takes
    until(lambda: server.n_pending == AT_ONCE)
    server.parts.engine.gate.set()
    reply = client.reply(number)
    assert [streamed(answer) for answer in reply.messages] == [str(i) for i in range(2 * AT_ONCE)]


def test_memory_of_a_stream_s_messages_is_given_back_with_each(start):
    server = start(ledger_bytes=3 * MIB)
    message, _ = question(100_000)
    with H2Client(server) as client:
        number = client.begin("ModelStreamInfer")
        for _ in range(30):  # 12 MB in all
            client.send(number, encode_prefix(len(message)) + message)
        client.h2.end_stream(number)
        client.flush()
        reply = client.reply(number)
        assert reply.status == 0
        assert len(reply.messages) == 30
        assert all(streamed(answer) == "" for answer in reply.messages)


def test_a_stream_that_breaks_the_framing_ends(server, client):
    number = stream(client, question()[0], end=False)
    client.receive_until(lambda: client.replies[number].messages)
    client.send(number, b"\x09\0\0\0\0")
    assert client.reply(number).status == 3
    until(lambda: server.grpc.commons.n_calls == 0)


def test_a_stream_whose_client_leaves_is_not_computed_further(server):
    server.parts.engine.gate.clear()
    with H2Client(server) as client:
        stream(client, *[question()[0]] * 6, end=False)
        until(lambda: server.n_pending == 6 and server.parts.engine.n_runs == 2)
    until(lambda: server.n_pending == 2)
    server.parts.engine.gate.set()
    until(lambda: server.grpc.commons.n_calls == 0)
    assert server.parts.engine.n_runs == 2


def test_a_stream_has_a_time_too(client):
    message, _ = question()
    number = client.begin("ModelStreamInfer", grpc_timeout="2S")
    client.send(number, encode_prefix(len(message)) + message)
    reply = client.reply(number)
    assert (reply.status, len(reply.messages)) == (4, 1)


def test_a_bug_ends_a_stream_by_a_reference(server, client, monkeypatch):
    def broken(*_arguments):
        raise ValueError("a secret")

    monkeypatch.setattr(type(server.parts.models), "find", broken)
    reply = client.reply(stream(client, question()[0]))
    assert reply.status == 13
    assert len(server.notes.failures) == 1


def test_an_engine_that_is_away_is_an_answer_in_a_stream(server, client):
    server.parts.engine.error = "away"
    reply = client.reply(stream(client, question()[0]))
    (answer,) = reply.messages
    assert streamed(answer).startswith("away")
