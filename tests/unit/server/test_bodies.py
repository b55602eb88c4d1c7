import asyncio

import pytest

from inferonnx.runtime.process import resident_bytes
from inferonnx.server import bodies
from inferonnx.server.messages import HttpError
from serving.running import Budget


def run(coroutine):
    return asyncio.run(coroutine)


async def growing(total, limit, *, beside=0):
    budget = Budget(total)
    reservation = await budget.reserve(bodies.FIRST_BYTES + beside)
    return budget, reservation, bodies.GrowingBody(reservation, limit_bytes=limit)


@pytest.mark.parametrize("size", [0, 1, bodies.MAPPED_BYTES - 1, bodies.MAPPED_BYTES, 1_000_001])
def test_memory_has_the_size_that_was_asked_for(size):
    memory = bodies.allocate(size)
    assert (len(memory), memory.format, memory.readonly) == (size, "B", False)
    assert not any(memory[:4096])


def test_memory_goes_back_with_its_last_view():
    memory = bodies.allocate(64 << 20)
    memory[::4096] = bytes(len(memory[::4096]))
    part = memory[5:6]
    held = resident_bytes()
    del memory
    assert resident_bytes() > held - (8 << 20)
    del part
    assert resident_bytes() < held - (56 << 20)


@pytest.mark.parametrize("piece", [1, 1000, 65_536, 65_537, 300_000])
def test_a_body_grows_with_what_comes(piece):
    async def grow():
        budget, reservation, body = await growing(1 << 30, 1 << 20)
        whole = bytes(range(256)) * 1200
        for at in range(0, len(whole), piece):
            body.append(whole[at : at + piece])
        assert body.n_bytes == len(whole)
        assert body.finish() == whole
        # What is reserved is what is allocated.
        assert len(whole) <= reservation.n_bytes <= max(2 * len(whole), 65_536)
        assert budget.used == reservation.n_bytes

    run(grow())


def test_both_buffers_are_counted_while_a_body_moves():
    async def grow():
        budget, _, body = await growing(1 << 30, 1 << 20)
        body.append(bytes(65_536))
        body.append(b"x")
        assert budget.most == 3 * 65_536
        assert budget.used == 2 * 65_536

    run(grow())


def test_a_body_beyond_its_limit_is_refused_before_it_has_memory():
    async def grow():
        budget, _, body = await growing(1 << 30, 100_000)
        body.append(bytes(100_000))
        assert budget.used == 100_000
        with pytest.raises(HttpError, match=r"97\.7 KiB") as info:
            body.append(b"x")
        assert info.value.status == 413
        assert budget.used == 100_000

    run(grow())


def test_a_body_that_finds_no_memory_to_grow_gives_up_and_does_not_wait():
    async def grow():
        _, _, body = await growing(65_536 * 2, 1 << 20)
        body.append(bytes(65_536))
        with pytest.raises(HttpError) as info:
            body.append(b"x")
        assert info.value.status == 503
        assert ("Retry-After", "1") in info.value.headers

    run(grow())


def test_more_than_there_ever_is_is_too_large():
    async def ask():
        with pytest.raises(HttpError) as info:
            await bodies.reserve(Budget(10), 11, admission_s=60)
        assert info.value.status == 413

    run(ask())


def test_who_waits_for_memory_too_long_is_sent_away():
    async def ask():
        budget = Budget(10)
        first = await bodies.reserve(budget, 10, admission_s=60)
        with pytest.raises(HttpError) as info:
            await bodies.reserve(budget, 1, admission_s=0.01)
        assert info.value.status == 503
        waiting = asyncio.create_task(bodies.reserve(budget, 1, admission_s=60))
        await asyncio.sleep(0)
        first.release()
        assert (await waiting).n_bytes == 1

    run(ask())
