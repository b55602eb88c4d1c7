"""What is answered whichever way it is asked, around an engine that is simulated."""

import asyncio
import threading

import numpy as np
import pytest

from inferonnx.errors import DeadlineError, EngineError, ModelNotReadyError
from inferonnx.oip import (
    InferRequest,
    InvalidRequestError,
    NamedTensor,
    NotFoundError,
    UnsupportedError,
    WantedOutput,
)
from inferonnx.server import answers as module
from inferonnx.server.answers import SLOW_VALUES, Answers
from inferonnx.server.messages import HttpError
from inferonnx.tensors import as_tensor
from serving.simulated import Parts


@pytest.fixture
def parts():
    parts = Parts()
    yield parts
    parts.close()


def run(parts, work, kinds=("float",), **more):
    """Return what `work` returns, of answers about models that are unlocked."""

    async def main():
        await parts.unlock(*kinds, **more)
        try:
            return await work(Answers(parts.context))
        finally:
            parts.engine.gate.set()
            await parts.models.finish()
            await parts.pool.close()

    return asyncio.run(main())


def asked(*shape, kind=np.float32, name="float", classes=0, **more):
    tensor = as_tensor(np.arange(np.prod(shape)).reshape(shape).astype(kind))
    outputs = (WantedOutput(name="y", classification=classes),) if classes else ()
    inputs = (NamedTensor(name="x", tensor=tensor),)
    return InferRequest(model_name=name, inputs=inputs, outputs=outputs, **more)


def test_a_server_is_not_ready_while_a_model_can_not_be_opened_or_when_it_drains(parts):
    async def work(answers):
        assert answers.is_ready
        opens, parts.engine.open = parts.engine.open, broken
        with pytest.raises(EngineError):
            await answers.load("float")
        assert not answers.is_ready
        parts.engine.open = opens
        await asyncio.sleep(1.1)  # it is not tried again at once
        await answers.load("float")
        assert answers.is_ready
        parts.context.is_draining = True
        assert not answers.is_ready

    def broken(*_, **__):
        raise EngineError("it is broken")

    run(parts, work)


def test_statistics_are_of_one_version_of_one_model_or_of_all(parts):
    async def work(answers):
        def counted(*which):
            found = answers.statistics(*which)["model_stats"]
            return [(one["name"], one["version"]) for one in found]

        assert counted() == [("bool", "1"), ("bool", "2"), ("float", "1"), ("float", "2")]
        assert counted("float") == [("float", "1"), ("float", "2")]
        assert counted("float", "1") == [("float", "1")]
        with pytest.raises(NotFoundError):
            counted("float", "3")

    run(parts, work, ("float", "bool"), versions=(1, 2))


def test_what_is_locked_is_not_opened_and_what_never_can_be_served_says_so(parts):
    async def work(answers):
        parts.add("int64")
        with pytest.raises(ModelNotReadyError, match="failed to load 'int64'"):
            await answers.load("int64")
        parts.models.not_unlocked("int64", 1, UnsupportedError("no client can ask for it"))
        with pytest.raises(UnsupportedError, match="no client can ask"):
            await answers.load("int64")
        with pytest.raises(NotFoundError):
            await answers.unload("none")

    run(parts, work)


@pytest.mark.parametrize("where", ["request", "configuration"])
def test_a_request_waits_as_long_as_it_says_or_else_as_the_server_does(where):
    parts = Parts(request_timeout_s=1 if where == "configuration" else 100)
    timeout_us = 200_000 if where == "request" else 0

    async def work(answers):
        target = answers.target("float", "")
        parts.engine.gate.clear()
        reservation = parts.ledger.try_reserve(1000)
        running = [
            asyncio.ensure_future(answers.infer(target, asked(1, 2), reservation))
            for _ in range(parts.pool.concurrency)
        ]
        await asyncio.sleep(0.05)
        with pytest.raises(DeadlineError):
            await answers.infer(target, asked(1, 2, timeout_us=timeout_us), reservation)
        parts.engine.gate.set()
        await asyncio.gather(*running)

    run(parts, work)
    parts.close()


def test_halves_are_refused_where_the_answer_is_json(parts):
    async def work(answers):
        target = answers.target("float16", "")
        request = asked(1, 2, kind=np.float16, name="float16")
        reservation = parts.ledger.try_reserve(1000)
        with pytest.raises(InvalidRequestError):
            await answers.infer(target, request, reservation)
        inferred = await answers.infer(target, request, reservation, is_json=False)
        assert inferred.response.outputs[0].tensor == request.inputs[0].tensor

    run(parts, work, ("float16",))


@pytest.mark.parametrize("n_values", [SLOW_VALUES, SLOW_VALUES + 1])
def test_many_values_are_classified_in_a_thread_and_counted_before(parts, monkeypatch, n_values):
    seen = []
    make = module.make_response

    def watched(*args, **kwargs):
        seen.append((threading.get_ident(), parts.ledger.used_bytes))
        return make(*args, **kwargs)

    monkeypatch.setattr(module, "make_response", watched)

    async def work(answers):
        target, request = answers.target("float", ""), asked(1, n_values, classes=2)
        with parts.ledger.try_reserve(1000) as reservation:
            inferred = await answers.infer(target, request, reservation)
            assert reservation.n_bytes == 1000 + inferred.class_bytes
        (named,) = inferred.response.outputs
        assert named.tensor.tolist() == [[f"{n}.000000:{n}" for n in (n_values - 1, n_values - 2)]]
        ((thread, held_bytes),) = seen
        is_slow = n_values > SLOW_VALUES
        assert (thread != threading.get_ident()) == is_slow
        assert held_bytes == 1000 + inferred.class_bytes
        assert bool(inferred.class_bytes) == is_slow

    run(parts, work)


def test_classes_for_which_there_is_no_memory_are_refused():
    parts = Parts(ledger_bytes=1 << 20)

    async def work(answers):
        target, request = answers.target("float", ""), asked(1, 20_000, classes=20_000)
        with parts.ledger.try_reserve(1000) as reservation, pytest.raises(HttpError) as caught:
            await answers.infer(target, request, reservation)
        assert caught.value.status == 413

    run(parts, work)
    parts.close()
