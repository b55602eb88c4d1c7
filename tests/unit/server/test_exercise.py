"""A server that asks itself: what is served, by whom, and what is left of it."""

import asyncio
import gc
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from inferonnx.server import exercise as module
from inferonnx.server.exercise import exercise
from inferonnx.server.http import HttpService
from inferonnx.server.identity import TlsSettings, born_identity
from inferonnx.server.limits import HttpLimits
from inferonnx.server.messages import Reply

N_THREADS = 3


def exercised(settings=None):
    """Exercise once; return the paths that were served and how many threads were started."""
    identity = born_identity(
        ["localhost"], settings=settings or TlsSettings(), now_s=int(time.time()), random=bytes(16)
    )
    paths = []

    async def handler(exchange):
        paths.append(exchange.head.path)
        return Reply(status=404)

    before = threading.active_count()
    with ThreadPoolExecutor(N_THREADS) as threads:
        asyncio.run(
            exercise(
                HttpService(handler, limits=HttpLimits(), linger_s=0),
                identity,
                threads,
                n_threads=N_THREADS,
            )
        )
        started = threading.active_count() - before
    return paths, started


def test_requests_go_through_tls_and_http_and_all_threads_start():
    paths, started = exercised()
    assert paths == [b"/v2", b"/v2/models/none/infer"]
    assert started == N_THREADS


def test_a_thread_that_fails_ends_the_start_and_does_not_hold_it_up(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.5)

    def fail():
        raise MemoryError

    monkeypatch.setattr(module, "_code", fail)
    with pytest.raises(MemoryError):
        exercised()


def test_nothing_stays_open():
    exercised()
    gc.collect()  # what others left open
    before = len(os.listdir("/proc/self/fd"))
    exercised()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_server_that_wants_certificates_refuses_itself_and_goes_on():
    identity = born_identity(
        ["localhost"], settings=TlsSettings(), now_s=int(time.time()), random=bytes(16)
    )
    ca = TlsSettings(client_ca_pem=identity.certificate_pem.decode())
    paths, started = exercised(ca)
    assert paths == []
    assert started == N_THREADS
