"""What is said of a model that could not be unlocked, and until when."""

import asyncio

import pytest

from inferonnx.crypto import Secret
from inferonnx.errors import InfeasibleBudgetError, KeyMismatchError
from inferonnx.server.models import LOCKED, READY
from inferonnx.server.replies import failure, verdict
from inferonnx.sizes import MIB
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
    asyncio.run(parts.models.lock("float", 1))
    assert "has not unlocked it" in parts.models.find("float", 1).reason
