"""`inferonnx serve --grpc` and the clients that people use, over TLS, in a process of its own."""

import asyncio
import queue
import ssl
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import onnxruntime as ort
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from served import PATIENCE_S
from serving import models
from serving.certificates import Authority
from serving.running import until

NAME = "cnn"
GRPC = ("--grpc", "127.0.0.1:0")
PENDING = 'nv_inference_pending_request_count{model="patient"'


@pytest.fixture(scope="module")
def serve(start):
    """A server whose model everybody may ask."""
    server = start(NAME, options=(*GRPC, "--allow-anonymous-infer", "--log-format", "json"))
    yield server
    assert server.end() == 0, server.log.read_text()


def address(server):
    return "localhost:" + server.facts["grpc_addresses"][0].rpartition(":")[2]


def connect(server, module=triton, **more):
    return module.InferenceServerClient(
        address(server), ssl=True, root_certificates=str(server.ca), **more
    )


@pytest.fixture
def client(serve):
    with connect(serve) as connected:
        yield connected


@pytest.fixture
def expected(cnn, image):
    return ort.InferenceSession(cnn).run(None, {"image": image})[0]


def inputs(image, module=triton):
    asked = module.InferInput("image", list(image.shape), "FP32")
    asked.set_data_from_numpy(image)
    return [asked]


def refused(call, *arguments, **named):
    """Return the status of an error."""
    with pytest.raises(InferenceServerException) as caught:
        call(*arguments, **named)
    return caught.value.status().removeprefix("StatusCode.")


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME)
    assert client.is_model_ready(NAME, "1")
    assert client.get_server_metadata().name == "inferonnx"
    found = client.get_model_metadata(NAME, as_json=True)
    assert found["versions"] == ["1"]
    assert found["inputs"] == [
        {"name": "image", "datatype": "FP32", "shape": ["-1", "3", "16", "16"]}
    ]


def test_configuration_index_settings_and_shared_memory(client):
    assert client.get_model_config(NAME).config.backend == "onnxruntime"
    (model,) = client.get_model_repository_index().models
    assert (model.name, model.version, model.state) == (NAME, "1", "READY")
    assert len(client.get_system_shared_memory_status().regions) == 0
    assert len(client.get_cuda_shared_memory_status().regions) == 0
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    assert refused(client.register_system_shared_memory, "a", "/a", 64) == "UNIMPLEMENTED"


def test_an_inference_is_that_of_plain_onnxruntime(client, image, expected):
    answer = client.infer(NAME, inputs(image), request_id="7")
    np.testing.assert_allclose(answer.as_numpy("scores"), expected, rtol=1e-4, atol=1e-5)
    assert answer.get_response().id == "7"
    assert answer.get_response().model_version == "1"


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_a_compressed_inference(client, image, expected, compression):
    answer = client.infer(NAME, inputs(image), compression_algorithm=compression)
    np.testing.assert_allclose(answer.as_numpy("scores"), expected, rtol=1e-4, atol=1e-5)


def test_classes_of_an_output(client, image, expected):
    wanted = [triton.InferRequestedOutput("scores", class_count=2)]
    found = client.infer(NAME, inputs(image), outputs=wanted).as_numpy("scores")
    best = np.argsort(expected[0])[::-1][:2]
    assert [int(text.split(b":")[1]) for text in found.reshape(-1)] == list(best)


def test_statistics_count(client, image):
    def count():
        return client.get_inference_statistics(NAME).model_stats[0].inference_stats.queue.count

    before = count()
    client.infer(NAME, inputs(image))
    assert count() == before + 1


def test_errors_have_the_codes_of_the_protocol(client, image):
    infer = client.infer
    assert refused(infer, "other", inputs(image)) == "NOT_FOUND"
    assert refused(infer, NAME, inputs(image), model_version="8") == "NOT_FOUND"
    assert refused(infer, NAME, inputs(image[:, :2])) == "INVALID_ARGUMENT"
    assert refused(client.get_model_metadata, "other") == "NOT_FOUND"
    assert refused(client.load_model, NAME) == "UNAUTHENTICATED"
    assert refused(client.get_trace_settings) == "UNAUTHENTICATED"


def test_a_client_s_time_out(serve, client, image):
    late = refused(client.infer, NAME, inputs(image), client_timeout=1e-4)
    assert late == "DEADLINE_EXCEEDED"
    assert client.is_server_live()


def ask_at_once(client, n, image, expected):
    answers = queue.Queue()
    for _ in range(n):
        client.async_infer(NAME, inputs(image), lambda result, error: answers.put((result, error)))
    for _ in range(n):
        result, error = answers.get(timeout=PATIENCE_S)
        assert error is None
        np.testing.assert_allclose(result.as_numpy("scores"), expected, rtol=1e-4, atol=1e-5)


def test_asynchronous_inferences_of_the_blocking_client(client, image, expected):
    ask_at_once(client, 20, image, expected)


def test_many_calls_at_once_on_each_of_many_new_channels(serve, image, expected):
    """grpcio once waited for ever: fewer calls were offered than had been a moment before."""
    for _ in range(30):
        with connect(serve, channel_args=[("grpc.use_local_subchannel_pool", 1)]) as new:
            ask_at_once(new, 20, image, expected)


def test_a_cancelled_inference_is_none(serve, client, image):
    answers = queue.Queue()
    calls = [
        client.async_infer(NAME, inputs(image), lambda result, error: answers.put(error))
        for _ in range(30)
    ]
    for call in calls:
        call.cancel()
    errors = [answers.get(timeout=PATIENCE_S) for _ in calls]
    assert all(e is None or "CANCELLED" in str(e.status()) for e in errors)
    assert client.is_server_live()


@pytest.mark.parametrize("final", [False, True])
def test_a_stream(client, image, expected, final):
    answers = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for i in range(12):
        client.async_stream_infer(
            NAME, inputs(image), request_id=str(i), enable_empty_final_response=final
        )
    for i in range(12):
        result, error = answers.get(timeout=PATIENCE_S)
        assert error is None
        response = result.get_response()
        assert response.id == str(i)
        assert response.parameters["triton_final_response"].bool_param
        np.testing.assert_allclose(result.as_numpy("scores"), expected, rtol=1e-4, atol=1e-5)
    client.async_stream_infer("other", inputs(image))
    result, error = answers.get(timeout=PATIENCE_S)
    assert "unknown model" in str(error)
    client.async_stream_infer(NAME, inputs(image), request_id="last")
    result, error = answers.get(timeout=PATIENCE_S)
    assert result.get_response().id == "last"
    client.stop_stream()


def test_the_asyncio_client(serve, image, expected):
    async def ask():
        async with connect(serve, triton_aio) as client:
            assert await client.is_server_live()
            answers = await asyncio.gather(
                *(client.infer(NAME, inputs(image, triton_aio)) for _ in range(30))
            )

            async def requests():
                for i in range(5):
                    yield {
                        "model_name": NAME,
                        "inputs": inputs(image, triton_aio),
                        "request_id": str(i),
                    }

            ids = []
            async for result, error in client.stream_infer(requests()):
                assert error is None
                ids.append(result.get_response().id)
            return answers, ids

    answers, ids = asyncio.run(ask())
    assert ids == ["0", "1", "2", "3", "4"]
    for answer in answers:
        np.testing.assert_allclose(answer.as_numpy("scores"), expected, rtol=1e-4, atol=1e-5)


def test_the_health_service_by_a_plain_channel(serve):
    credentials = grpc.ssl_channel_credentials(serve.ca.read_bytes())
    with grpc.secure_channel(address(serve), credentials) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=PATIENCE_S) == b"\x08\x01"
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=PATIENCE_S).next()
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_client_that_trusts_another_certificate_gets_nothing(serve, start):
    other = start(options=GRPC)
    with triton.InferenceServerClient(
        address(serve), ssl=True, root_certificates=str(other.ca)
    ) as client:
        assert refused(client.is_server_live, client_timeout=PATIENCE_S) == "UNAVAILABLE"
    assert other.end() == 0


def test_rest_and_grpc_are_one_server(serve, client, image):
    rest = triton_http.InferenceServerClient(
        f"localhost:{serve.port}",
        ssl=True,
        ssl_context_factory=lambda: ssl.create_default_context(cafile=serve.ca),
    )
    before = client.get_inference_statistics(NAME).model_stats[0].inference_count
    asked = triton_http.InferInput("image", list(image.shape), "FP32")
    asked.set_data_from_numpy(image)
    by_rest = rest.infer(NAME, [asked]).as_numpy("scores")
    by_grpc = client.infer(NAME, inputs(image)).as_numpy("scores")
    np.testing.assert_array_equal(by_rest, by_grpc)
    assert client.get_inference_statistics(NAME).model_stats[0].inference_count == before + 2
    rest.close()


def test_log_lines_have_calls_and_nothing_of_them(serve, client, image):
    client.infer(NAME, inputs(image), headers={"x-request-id": "find-me"})
    until(lambda: '"find-me"' in serve.log.read_text())
    (line,) = [line for line in serve.requests() if line.get("request") == "find-me"]
    assert line["path"] == "/inference.GRPCInferenceService/ModelInfer"
    assert (line["grpc"], line["model"], line["version"]) == (0, NAME, 1)
    assert not {"image", "scores", "secret_head"} & set(
        serve.log.read_text().replace('"', " ").split()
    )


def test_many_clients_at_once(serve, image, expected):
    errors = []

    def ask():
        try:
            with connect(serve) as client:
                for _ in range(15):
                    answer = client.infer(NAME, inputs(image)).as_numpy("scores")
                    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE_S)
    assert errors == []


def test_every_type_comes_back_as_it_went(start):
    server = start("numbers", "texts", options=(*GRPC, "--allow-anonymous-infer"))
    given = models.extremes(rows=3)
    asked = []
    for word, array in given.items():
        asked.append(triton.InferInput(f"in_{word}", list(array.shape), word))
        asked[-1].set_data_from_numpy(array)
    strings = np.array([b"", b"nul \0", "schön".encode(), b"\xff\xfe"], dtype=np.object_)
    columns = []
    for side in ("left", "right"):
        columns.append(triton.InferInput(side, [len(strings)], "BYTES"))
        columns[-1].set_data_from_numpy(strings)
    with connect(server) as client:
        answer = client.infer("numbers", asked)
        for word, array in given.items():
            np.testing.assert_array_equal(answer.as_numpy(f"out_{word}"), array)
        answer = client.infer("texts", columns)
        assert list(answer.as_numpy("same")) == list(strings)
        assert list(answer.as_numpy("joined")) == [2 * text for text in strings]
    assert server.end() == 0


def test_roles_by_tokens(start, image):
    server = start(NAME, options=GRPC)

    def headers(role):
        return {"authorization": f"Bearer {server.token(role)}"}

    with connect(server) as client:
        assert refused(client.infer, NAME, inputs(image)) == "UNAUTHENTICATED"
        manage, infer = headers("manage"), headers("infer")
        assert refused(client.infer, NAME, inputs(image), headers=manage) == "PERMISSION_DENIED"
        assert refused(client.load_model, NAME, headers=infer) == "PERMISSION_DENIED"
        client.infer(NAME, inputs(image), headers=infer)
        client.load_model(NAME, headers=manage)
        overridden = refused(client.load_model, NAME, headers=manage, config="{}")
        assert overridden == "UNIMPLEMENTED"
        client.unload_model(NAME, headers=manage)
        assert not client.is_model_ready(NAME, headers=infer)
        assert refused(client.infer, NAME, inputs(image), headers=infer) == "UNAVAILABLE"
    assert server.end() == 0


def test_a_cancelled_call_that_waits_is_not_computed(start):
    options = (*GRPC, "--allow-anonymous-infer")
    server = start("patient", options=options, settings="concurrency = 1\n")
    turns = triton.InferInput("turns", [], "INT64")
    turns.set_data_from_numpy(np.array(4000, np.int64))
    answers = queue.Queue()

    with connect(server) as client:

        def ask():
            return client.async_infer("patient", [turns], lambda result, error: answers.put(error))

        ask()
        until(lambda: pending_calls(server) == 1)
        waiting = [ask() for _ in range(4)]
        until(lambda: pending_calls(server) == 5)
        for call in waiting:
            call.cancel()
        errors = [answers.get(timeout=PATIENCE_S) for _ in range(5)]
        assert sum(error is None for error in errors) == 1
        (found,) = client.get_inference_statistics("patient").model_stats
        assert (found.execution_count, found.inference_stats.success.count) == (1, 1)
    assert server.end() == 0


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_call_that_is_given_up_while_it_is_computed_holds_nobody_up(start, how):
    options = (*GRPC, "--allow-anonymous-infer")
    server = start("patient", options=options, settings="concurrency = 1\n")
    answers = queue.Queue()

    def turns(n):
        asked = triton.InferInput("turns", [], "INT64")
        asked.set_data_from_numpy(np.array(n, np.int64))
        return [asked]

    with connect(server) as client:
        client.infer("patient", turns(1))
        call = client.async_infer(
            "patient",
            turns(10**12),
            lambda result, error: answers.put(error),
            client_timeout=1 if how == "deadline" else None,
        )
        until(lambda: pending_calls(server) == 1)
        if how == "cancel":
            call.cancel()
        assert answers.get(timeout=PATIENCE_S) is not None
        client.infer("patient", turns(1), client_timeout=PATIENCE_S)
        (found,) = client.get_inference_statistics("patient").model_stats
        assert found.execution_count == 2
    assert server.end() == 0


def pending_calls(server):
    metrics = server.asked("/metrics", role="metrics")[2].decode()
    (line,) = (x for x in metrics.splitlines() if x.startswith(PENDING))
    return int(line.split()[-1])


def test_clients_with_a_certificate_have_the_roles_that_were_given(start, tmp_path, image):
    authority = Authority(tmp_path)
    server = start(
        NAME,
        options=(*GRPC, "--client-ca", authority.pem),
        settings='client_roles = ["infer"]',
    )
    with connect(server) as client:
        assert refused(client.is_server_live, client_timeout=PATIENCE_S) == "UNAVAILABLE"
    certificate, key = authority.client("a client")
    with triton.InferenceServerClient(
        address(server),
        ssl=True,
        root_certificates=str(server.ca),
        private_key=str(key),
        certificate_chain=str(certificate),
    ) as client:
        client.infer(NAME, inputs(image))
        assert refused(client.unload_model, NAME) == "PERMISSION_DENIED"
    assert server.end() == 0


def test_a_drain_lets_calls_finish_and_exits_with_0(start, image):
    server = start(NAME, options=(*GRPC, "--allow-anonymous-infer"))
    with connect(server) as client:
        client.infer(NAME, inputs(image))
        answers = queue.Queue()
        for _ in range(20):
            client.async_infer(NAME, inputs(image), lambda result, error: answers.put(error))
        first = answers.get(timeout=PATIENCE_S)
        begun = time.monotonic()
        server.terminate()
        errors = [first, *(answers.get(timeout=PATIENCE_S) for _ in range(19))]
        assert server.process.wait(PATIENCE_S) == 0
        assert time.monotonic() - begun < 15
    assert [str(e) for e in errors if e is not None] == []


WITHOUT = """
import sys
sys.modules[{name!r}] = None
from inferonnx.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["h2", "google.protobuf"])
def test_without_the_extra_grpc_is_refused_by_a_sentence(tmp_path, name):
    (tmp_path / "models").mkdir()
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            WITHOUT.format(name=name),
            "serve",
            "--models",
            "models",
            "--grpc",
            "127.0.0.1:0",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 5
    assert "gRPC needs the packages h2 and protobuf" in done.stderr
    assert "pip install 'inferonnx[grpc]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_flag_nothing_of_it_is_loaded(tmp_path):
    (tmp_path / "models").mkdir()
    code = """
import asyncio, sys
from inferonnx.app.host.serve import Server
from inferonnx.control import server_config
from inferonnx.control.kinds import Address
from inferonnx.server.log import Log
config = server_config({}, {"models": "models", "listen": Address("127.0.0.1", 0)})
server = Server(config, Log(), version="0")
async def main():
    stop = asyncio.Event()
    await server.run(started=lambda _: stop.set(), stop=stop)
asyncio.run(main())
print(*(m for m in sys.modules if m.split(".")[0] in ("h2", "hpack", "google", "grpc")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout.strip() == ""
