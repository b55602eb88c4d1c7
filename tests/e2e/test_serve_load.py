"""A server with too much to do, that is to end, and whose clients leave or misbehave."""

import json
import signal
import socket
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from inferonnx.sealed import Probe
from served import PATIENCE_S
from serving import models
from serving.asking import PATIENT, Asker, connection, raw, request, reset, turns, turns_in
from serving.loops import looping
from serving.running import everything, until

ENDLESS = 10**12
"""Turns: thirty years."""

SMALL_QUEUE = "max_queue = 2\nmax_batch = 1\n"


@pytest.fixture
def narrow(start):
    """A server that computes one thing at a time, and lets two wait."""
    server = start(
        *("patient", "cnn"),
        options=("--allow-anonymous-infer", "--concurrency", "1", "--log-format", "json"),
        settings=SMALL_QUEUE + "drain_timeout_s = 20\n",
    )
    server.long = turns_in(server, 1.5)  # what comes meanwhile has to wait
    server.executed = counts(server)["execution_count"]
    return server


def counts(served):
    """Return what the server has done with the slow model."""
    status, _, body = served.asked("/v2/models/patient/stats")
    assert status == 200
    (found,) = json.loads(body)["model_stats"]
    return found


def pending(served, name="patient"):
    status, _, body = served.asked("/metrics", role="metrics")
    assert status == 200
    (line,) = (
        line
        for line in body.decode().splitlines()
        if line.startswith(f'nv_inference_pending_request_count{{model="{name}"')
    )
    return int(line.split()[-1])


def fill(served, n):
    """Ask for a long answer, and others behind it; return when all are there."""
    asked = [Asker(served, PATIENT, turns(served.long))]
    until(lambda: pending(served) == 1)
    asked += [Asker(served, PATIENT, turns(1)) for _ in range(n - 1)]
    until(lambda: pending(served) == n)
    return asked


def test_a_full_queue_says_come_again_at_once(narrow):
    asked = fill(narrow, 3)
    began = time.monotonic()
    late = [Asker(narrow, PATIENT, turns(1)) for _ in range(6)]
    assert [one.answered() for one in late] == [503] * 6
    assert time.monotonic() - began < 1.5
    for one in late:
        assert one.headers["Retry-After"] == "1"
        assert json.loads(one.body)["error"].startswith("too many requests wait for this model")
    assert narrow.asked("/v2/health/ready")[0] == 200
    assert narrow.asked("/v2/models/cnn")[0] == 200  # another model's queue is its own
    assert [one.answered() for one in asked] == [200] * 3
    assert Asker(narrow, PATIENT, turns(1)).answered() == 200
    assert narrow.end() == 0


def test_who_waits_longer_than_he_wants_is_not_computed(narrow):
    asked = fill(narrow, 1)
    hasty = Asker(narrow, PATIENT, turns(1, timeout=50_000))
    assert hasty.answered() == 504
    assert "time-out" in json.loads(hasty.body)["error"]
    assert asked[0].answered() == 200
    assert counts(narrow)["execution_count"] == narrow.executed + 1
    assert narrow.end() == 0


@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_a_client_that_vanishes_is_not_computed(narrow, how):
    asked = fill(narrow, 1)
    sock = raw(narrow)
    sock.sendall(request(PATIENT, turns(1)))
    until(lambda: pending(narrow) == 2)
    if how == "close":
        sock.close()
    elif how == "reset":
        reset(sock)
    else:
        sock.shutdown(socket.SHUT_WR)  # it reads on, and hears nothing but the end
    until(lambda: pending(narrow) == 1)
    sock.close()
    assert asked[0].answered() == 200
    found = counts(narrow)
    assert found["execution_count"] == narrow.executed + 1
    assert found["inference_stats"]["fail"]["count"] == 1
    assert narrow.end() == 0
    assert [line["status"] for line in narrow.requests("infer")][-2:] == [499, 200]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_vanishes_while_it_is_computed_holds_nobody_up(narrow, how):
    before = requests_hold(narrow)
    sock = raw(narrow)
    sock.sendall(request(PATIENT, turns(ENDLESS)))
    behind = Asker(narrow, PATIENT, turns(1))
    until(lambda: pending(narrow) == 2)
    sock.close() if how == "close" else reset(sock)
    assert behind.answered() == 200
    until(lambda: pending(narrow) == 0)
    until(lambda: requests_hold(narrow) == before)
    assert counts(narrow)["execution_count"] == narrow.executed + 1
    assert narrow.end() == 0
    assert [line["status"] for line in narrow.requests("infer")][-2:] == [499, 200]


def test_a_probe_that_would_never_end_keeps_no_other_model_from_being_opened(
    start, sealed, key, tmp_path
):
    endless = Probe(skeleton=looping(ENDLESS), inputs=(), outputs=())
    hostile = models.with_probe(sealed["swelling"], tmp_path, key, endless)
    served = start("cnn", options=("--allow-anonymous-infer",), paths=(hostile,))
    sizes = [{"name": n, "shape": [1], "datatype": "INT64", "data": [4]} for n in models.SIZES]
    body = json.dumps({"inputs": sizes}).encode()
    asked = Asker(served, "/v2/models/swelling/infer", body)
    image = np.zeros((1, 3, 16, 16), np.float32).tobytes()
    head = {"Inference-Header-Content-Length": "0"}
    assert Asker(served, "/v2/models/cnn/infer", image, **head).answered() == 200
    assert asked.answered() == 500
    assert b"did not end within" in asked.body
    assert Asker(served, "/v2/models/cnn/infer", image, **head).answered() == 200
    assert served.end() == 0


def n_turning(served):
    """Return how many threads of a process compute without a pause."""
    before = computed_ticks(served)
    time.sleep(0.5)
    return sum(
        ticks > before.get(thread, ticks) + 3 for thread, ticks in computed_ticks(served).items()
    )


def computed_ticks(served):
    """Return what each thread of a process has computed, in the kernel's ticks."""
    found = {}
    for path in Path(f"/proc/{served.process.pid}/task").glob("*/stat"):
        with suppress(OSError):  # it has ended
            fields = path.read_text(encoding="ascii").rpartition(")")[2].split()
            found[path.parent.name] = int(fields[11]) + int(fields[12])
    return found


def tire(served, name):
    """Have a model turn an endless Loop without a node, more often than there are threads."""
    scalars = (("turns", "INT64", 2**62), ("start", "FP32", 1.0))
    inputs = [{"name": n, "shape": [], "datatype": d, "data": [x]} for n, d, x in scalars]
    body = json.dumps({"inputs": inputs}).encode()
    n_before = n_turning(served)
    socks = [raw(served) for _ in range(20)]
    for sock in socks:
        sock.sendall(request(f"/v2/models/{name}/infer", body))
    until(lambda: pending(served, name) == 20)
    # The model is open, and a pass turns its Loop: given up before, none would begin.
    until(lambda: n_turning(served) > n_before)
    return socks


def answers_of_cnn(served, image, n=3):
    head = {"Inference-Header-Content-Length": "0"}
    ask = "/v2/models/cnn/infer", image.tobytes()
    return [Asker(served, *ask, **head).answered() for _ in range(n)]


def told_overdue(served):
    return {line["model"] for line in served.events("pass_overdue")}


def test_a_pass_that_nothing_ends_holds_its_model_alone(start, image):
    """A Loop without a node looks at nothing between its turns."""
    served = start("tireless", "cnn", options=("--allow-anonymous-infer", "--log-format", "json"))
    for sock in tire(served, "tireless"):
        sock.close()
    assert answers_of_cnn(served, image) == [200] * 3
    unloading = Asker(
        served, "/v2/repository/models/tireless/unload", b"{}", **served.bearer("manage")
    )
    until(lambda: told_overdue(served) == {"tireless"})
    assert answers_of_cnn(served, image) == [200] * 3
    served.terminate()
    until(lambda: refuses(served))
    assert served.process.poll() is None
    began = time.monotonic()
    served.terminate()
    assert served.process.wait(PATIENCE_S) == 130
    assert time.monotonic() - began < 0.5
    assert unloading.answered() == 0


def test_two_models_with_passes_that_nothing_ends_keep_no_third_from_answering(start, image):
    served = start(
        *("tireless", "untiring", "cnn"),
        options=("--allow-anonymous-infer", "--log-format", "json"),
        settings="drain_timeout_s = 1\n",
    )
    names = {"tireless", "untiring"}
    socks = [sock for name in names for sock in tire(served, name)]
    assert answers_of_cnn(served, image) == [200] * 3  # while their clients wait
    assert served.status("Threads") < 24
    for sock in socks:
        sock.close()
    until(lambda: told_overdue(served) == names)
    assert answers_of_cnn(served, image) == [200] * 3
    assert served.end() == 0
    assert "drain_timeout" in served.log.read_text()


def requests_hold(served):
    metrics = served.asked("/metrics", role="metrics")[2].decode()
    (line,) = (x for x in metrics.splitlines() if x.startswith("inferonnx_request_bytes "))
    return int(float(line.split()[-1]))


@pytest.mark.parametrize("numbers", [["SIGTERM"], ["SIGHUP", "SIGHUP"]], ids=" ".join)
def test_signals_drain(narrow, numbers):
    idle = connection(narrow)
    idle.request("GET", "/v2/health/ready")
    assert idle.getresponse().read()
    asked = fill(narrow, 2)
    for number in numbers:  # a terminal that closes may say so twice
        narrow.process.send_signal(getattr(signal, number))
    until(lambda: refuses(narrow))
    assert [one.answered() for one in asked] == [200, 200]
    assert {one.headers["Connection"] for one in asked} == {"close"}
    assert narrow.process.wait(PATIENCE_S) == 0
    assert idle.sock.recv(1) == b""
    idle.close()
    assert "draining" in narrow.log.read_text()


def refuses(served):
    try:
        socket.create_connection(("127.0.0.1", served.port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_second_sigterm_ends_it_at_once(narrow):
    asked = fill(narrow, 2)
    narrow.terminate()
    until(lambda: refuses(narrow))
    assert narrow.process.poll() is None
    began = time.monotonic()
    narrow.terminate()
    assert narrow.process.wait(PATIENCE_S) == 130
    assert time.monotonic() - began < 0.5
    assert [one.answered() for one in asked] == [0, 0]


def test_a_drain_has_an_end(start):
    server = start(
        "patient", options=("--allow-anonymous-infer",), settings="drain_timeout_s = 1\n"
    )
    endless = Asker(server, PATIENT, turns(10_000_000))
    until(lambda: pending(server) == 1)
    began = time.monotonic()
    server.terminate()
    assert server.process.wait(PATIENCE_S) == 0
    assert 0.9 < time.monotonic() - began < 4
    assert endless.answered() == 0
    assert "drain_timeout" in server.log.read_text()


def test_bodies_beyond_the_requests_memory(narrow):
    limit = narrow.facts["requests_bytes"]
    before = narrow.status("VmRSS")
    path = "/v2/models/cnn/infer"
    for n in (limit + 1, 1 << 40, 1 << 62):
        with raw(narrow) as sock:
            sock.sendall(
                request(path, b"", "Inference-Header-Content-Length: 0").replace(
                    b"Content-Length: 0\r\nInf", f"Content-Length: {n}\r\nInf".encode()
                )
            )
            assert sock.recv(100).startswith(b"HTTP/1.1 413 ")
    with raw(narrow) as sock:
        sock.sendall(
            f"POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        with suppress(OSError):  # it listens a little longer, and then no more
            for _ in range(limit // 0x10000 * 2):
                sock.sendall(chunk)
        assert sock.recv(100).startswith(b"HTTP/1.1 413 ")
    bomb = zlib.compress(bytes(limit * 4), 9)
    with raw(narrow) as sock:
        sock.sendall(request(path, bomb, "Content-Encoding: deflate"))
        assert sock.recv(100).startswith(b"HTTP/1.1 413 ")
    numbers = zlib.compress(b'{"inputs":[' + b"0," * (limit // 8), 9)  # small, but not as lists
    with raw(narrow) as sock:
        sock.sendall(request(path, numbers, "Content-Encoding: deflate"))
        assert sock.recv(100).startswith(b"HTTP/1.1 413 ")
    assert narrow.status("VmRSS") - before < limit // 2
    assert narrow.end() == 0


class Nuisance(threading.Thread):
    """Does one bad thing over and over, until it is told to stop."""

    def __init__(self, served, what):
        super().__init__()
        self._served, self._what = served, what
        self.n, self.stopping = 0, threading.Event()
        self.start()

    def run(self):
        while not self.stopping.is_set():
            with suppress(OSError):  # it was thrown out
                self._what(self._served)
            self.n += 1


def garbage(served):
    with raw(served) as sock:
        sock.sendall(b"\0\xffGET nothing\r\n\r\n" * 10)
        everything(sock)


def half_a_body(served):
    sock = raw(served)
    sock.sendall(request(PATIENT, turns(1))[:-5])
    time.sleep(0.01)
    reset(sock)


def json_bomb(served):
    with raw(served) as sock:
        sock.sendall(request(PATIENT, b'{"inputs":' + b"[" * 200_000))
        assert sock.recv(100).startswith(b"HTTP/1.1 400 ")


def huge_head(served):
    with raw(served) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 100_000)
        assert sock.recv(100).startswith(b"HTTP/1.1 431 ")


def no_tls(served):
    with socket.create_connection(("127.0.0.1", served.port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        everything(sock)


def lie_about_tensors(served):
    lie = {"name": "image", "shape": [1 << 62, 3, 16, 16], "datatype": "FP32", "data": [1]}
    with raw(served) as sock:
        sock.sendall(request("/v2/models/cnn/infer", json.dumps({"inputs": [lie]}).encode()))
        assert sock.recv(100).startswith(b"HTTP/1.1 400 ")


def vanish_while_computed(served):
    sock = raw(served)
    sock.sendall(
        request(
            "/v2/models/cnn/infer",
            np.zeros((2, 3, 16, 16), np.float32).tobytes(),
            "Inference-Header-Content-Length: 0",
        )
    )
    reset(sock)


NUISANCES = (
    garbage,
    half_a_body,
    json_bomb,
    huge_head,
    no_tls,
    lie_about_tensors,
    vanish_while_computed,
)


def test_others_notice_nothing(start, image):
    served = start("patient", "cnn", options=("--allow-anonymous-infer",))
    slow = [raw(served) for _ in range(8)]  # half a head each, for all of the time
    for sock in slow:
        sock.sendall(b"POST /v2/models/cnn/infer HTTP/1.1\r\nHost: h\r\n")
    body = image.tobytes()
    headers = {"Inference-Header-Content-Length": "0"}
    good = connection(served)

    def ask():
        began = time.monotonic()
        good.request("POST", "/v2/models/cnn/infer", body, headers)
        reply = good.getresponse()
        content = reply.read()
        assert reply.status == 200, content
        return content[int(reply.headers["Inference-Header-Content-Length"]) :], (
            time.monotonic() - began
        )

    expected, _ = ask()
    nuisances = [Nuisance(served, what) for what in NUISANCES]
    answers = [ask() for _ in range(60)]
    for nuisance in nuisances:
        nuisance.stopping.set()
    for nuisance in nuisances:
        nuisance.join(PATIENCE_S)
        assert nuisance.n > 3, nuisance._what
    assert {answer for answer, _ in answers} == {expected}
    assert sorted(took for _, took in answers)[30] < 1
    for sock in slow:
        sock.close()
    ask()
    good.close()
    assert served.status("Threads") < 20
    assert served.end() == 0
    assert " bug " not in served.log.read_text()
