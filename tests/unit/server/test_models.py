"""What is said of a model that could not be unlocked, and until when."""

import asyncio
import threading

import pytest

from inferonnx.crypto import Secret
from inferonnx.errors import (
    AuthenticationError,
    InfeasibleBudgetError,
    InferonnxError,
    KeyMismatchError,
    ModelNotReadyError,
    OwnerRefusedError,
    PinError,
    SealedFormatError,
    TargetError,
    UnavailableError,
)
from inferonnx.oip import NotFoundError, UnsupportedError
from inferonnx.server.answers import Answers
from inferonnx.server.models import KEY_OR_FILE, LOCKED, OTHER_FILE, READY, UNAVAILABLE
from inferonnx.server.replies import failure, verdict
from inferonnx.sizes import MIB
from serving.running import PATIENCE_S
from serving.simulated import Parts

TOO_LARGE = "the model needs 100.0 MiB beside the server, and 64.0 MiB are there for models"


@pytest.fixture
def parts():
    made = Parts()
    made.add("float")
    yield made
    made.close()


def unlock(parts):
    asyncio.run(parts.models.unlock("float", 1, Secret(bytes(32))))


def grown(facts, least_bytes):
    return lambda *a, **b: facts(*a, **b)._replace(least_bytes=least_bytes)


def test_a_model_that_no_memory_would_hold_says_so_until_it_is_unlocked(parts):
    facts = parts.engine.facts
    parts.engine.facts = grown(facts, 100 * MIB)
    with pytest.raises(InfeasibleBudgetError) as caught:
        unlock(parts)
    view = parts.models.find("float", 1)
    assert (view.state, view.reason) == (LOCKED, f"it could not be unlocked: {TOO_LARGE}")
    told = verdict(caught.value)
    assert (told.status, told.grpc_code, told.retry_after_s) == (413, 8, 0)
    assert told.sentence == f"{TOO_LARGE}. Serve with at least 36 MiB more."
    assert "Retry-After" not in dict(failure(caught.value).headers)
    parts.engine.facts = facts
    unlock(parts)
    assert (parts.models.find("float", 1).state, parts.models.find("float", 1).reason) == (
        READY,
        "",
    )


def test_a_failure_that_is_noted_goes_with_the_next_lock(parts):
    parts.models.not_unlocked("float", 1, KeyMismatchError("the key is another model's"))
    reason = parts.models.find("float", 1).reason
    assert reason == "it could not be unlocked: the key is another model's"
    asyncio.run(parts.models.lock("float", [1]))
    assert "has not unlocked it" in parts.models.find("float", 1).reason


def test_a_model_that_the_protocol_can_not_carry_is_refused_for_good(parts):
    parts.add("float8e4m3fn")
    with pytest.raises(UnsupportedError):
        asyncio.run(parts.models.unlock("float8e4m3fn", 1, Secret(bytes(32))))
    view = parts.models.find("float8e4m3fn", 1)
    assert (view.state, view.entry) == (UNAVAILABLE, None)
    assert "an input that is a tensor(float8e4m3fn)" in view.reason
    with pytest.raises(UnsupportedError) as caught:
        parts.models.signature(view)
    told = verdict(caught.value)
    assert (told.status, told.grpc_code, told.retry_after_s) == (501, 12, 0)
    assert told.sentence.endswith("or export it with tensors that it can carry.")
    assert "Retry-After" not in dict(failure(caught.value).headers)
    answers = Answers(parts.context)
    with pytest.raises(UnsupportedError):
        asyncio.run(answers.load("float8e4m3fn"))
    assert answers.is_ready


def test_what_was_remembered_of_a_failure_holds_nothing_of_the_attempt(parts):
    try:
        raise KeyMismatchError("the key is another model's")
    except KeyMismatchError as error:
        parts.models.not_unlocked("float", 1, error)
    assert parts.models._version("float", 1).failure.__traceback__ is None


@pytest.mark.parametrize("name", ["float", "cut"])
def test_who_asks_for_what_is_not_ready_is_told_what_helps_and_not_to_ask_again_soon(parts, name):
    parts.add("cut", refusal=SealedFormatError("the file is cut short"))
    for ask in (
        lambda: parts.models.signature(parts.models.find(name, None)),
        lambda: asyncio.run(Answers(parts.context).load(name)),
    ):
        with pytest.raises(ModelNotReadyError) as caught:
            ask()
        told = verdict(caught.value)
        way_out = "`inferonnx unlock`." if name == "float" else "pushes another version."
        assert (told.status, told.retry_after_s) == (503, 0)
        assert told.sentence.endswith(way_out)


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (SealedFormatError("the file is cut short"), 422),
        (AuthenticationError(), 422),
        (PinError("its sealed release is 2, and not the version of its folder"), 422),
        (OwnerRefusedError("it belongs to another owner than the one of this server"), 403),
        (UnavailableError("its model.sealed can't be read: Input/output error"), 503),
    ],
)
def test_a_file_that_no_key_opens_is_refused_definitely(parts, refusal, status):
    parts.add("cut", refusal=refusal)
    with pytest.raises(InferonnxError) as caught:
        asyncio.run(parts.models.unlock("cut", 1, Secret(bytes(32))))
    told = verdict(caught.value)
    assert (told.status, told.retry_after_s) == (status, 0)
    assert told.sentence.startswith(refusal.message)
    assert "inferonnx unlock" not in told.sentence
    assert caught.value is not refusal


@pytest.mark.parametrize(
    ("failure", "state", "way_out"),
    [
        (AuthenticationError(), LOCKED, KEY_OR_FILE),  # a wrong key looks the same
        (PinError("it is another"), UNAVAILABLE, OTHER_FILE),
        (TargetError("it is for other machines"), UNAVAILABLE, OTHER_FILE),
    ],
)
def test_what_an_unlock_has_shown_is_told_with_what_helps(parts, failure, state, way_out):
    parts.models.not_unlocked("float", 1, failure)
    view = parts.models.find("float", 1)
    assert view.state == state
    assert view.reason.endswith(failure.message)
    with pytest.raises(ModelNotReadyError) as caught:
        parts.models.signature(view)
    told = verdict(caught.value)
    assert told.sentence.endswith(f"{failure.message}. {way_out}")
    assert told.retry_after_s == 0
    unlock(parts)  # the file may have been put right meanwhile
    assert parts.models.find("float", 1).state == READY


class Held:
    """Has manifests read when it says so."""

    def __init__(self, parts):
        self.read = parts.engine.facts
        self.begun, self.goes_on = threading.Event(), threading.Event()
        parts.engine.facts = self.facts

    def facts(self, *arguments, **more):
        self.begun.set()
        assert self.goes_on.wait(PATIENCE_S)
        return self.read(*arguments, **more)


@pytest.mark.parametrize("is_brought_again", [False, True])
def test_a_model_that_is_deleted_while_it_is_unlocked_leaves_no_key(parts, is_brought_again):
    """Else what is pushed under its number would be ready, with the key of what was there."""
    held, key, other = Held(parts), Secret(b"k" * 32), Secret(b"n" * 32)

    async def race():
        unlocking = asyncio.create_task(parts.models.unlock("float", 1, key))
        await asyncio.to_thread(held.begun.wait, PATIENCE_S)
        await parts.models.remove("float", 1)
        if is_brought_again:
            parts.engine.facts = held.read
            parts.add("float")
            await parts.models.unlock("float", 1, other)
        held.goes_on.set()
        with pytest.raises(NotFoundError):
            await unlocking

    asyncio.run(race())
    assert key == Secret(bytes(32))
    assert (("float", 1) in parts.pool) == is_brought_again
    if not is_brought_again:
        parts.add("float")
    view = parts.models.find("float", 1)
    assert view.state == (READY if is_brought_again else LOCKED)
    assert "could not be unlocked" not in view.reason
    assert other == Secret(b"n" * 32)


def test_all_versions_are_locked_at_once_whatever_one_of_them_computes(parts):
    async def unload():
        await parts.unlock("float", versions=(1, 2, 3))
        async with parts.pool.lease(("float", 1)):
            unloading = asyncio.create_task(Answers(parts.context).unload("float"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert parts.models.ready_versions("float") == []
            await parts.models.remove("float", 2)
        await unloading

    asyncio.run(unload())
    assert [view.state for view in parts.models.views()] == [LOCKED, LOCKED]
