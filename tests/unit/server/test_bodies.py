import asyncio
import mmap

import pytest

from inferonnx.runtime.addresses import address_of
from inferonnx.runtime.process import resident_bytes
from inferonnx.server import bodies
from inferonnx.server.ledger import Ledger
from inferonnx.server.messages import HttpError
from pages import resident_within


def run(coroutine):
    return asyncio.run(coroutine)


async def beginning(total, most, *, promised=None, beside=0):
    """Return a ledger, a reservation of `promised` (else all) and a body that begins."""
    ledger = Ledger(total)
    promised = most if promised is None else promised
    n_held = bodies.first_bytes(promised, 1)
    reservation = await ledger.reserve(promised + beside, at_once=n_held)
    body = bodies.Body(
        reservation, most_bytes=most, n_held=n_held, beside_bytes=beside, admission_s=0.05
    )
    return ledger, reservation, body


@pytest.mark.parametrize("size", [0, 1, bodies.PAGE_BYTES, bodies.PAGE_BYTES + 1, 3_000_001])
def test_memory_has_the_size_that_was_asked_for(size):
    memory = bodies.allocate(size)
    assert (len(memory), memory.format, memory.readonly) == (size, "B", False)
    assert not any(memory[:4096])


@pytest.mark.parametrize("head", [0, 1, 63, 64, 297])
@pytest.mark.parametrize(("size", "aligned"), [(1000, 16), (3_000_001, bodies.ALIGNED_BYTES)])
def test_what_follows_a_head_begins_where_tensors_may(size, aligned, head):
    memory = bodies.allocate(size, head_bytes=head)
    assert len(memory) == size
    assert address_of(memory[head:])[1] % aligned == 0


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
@pytest.mark.parametrize("promised", [0, bodies.FIRST_BYTES, 1 << 20])
def test_a_body_holds_a_page_or_twice_what_has_come(piece, promised):
    async def grow():
        ledger, reservation, body = await beginning(1 << 30, 1 << 20, promised=promised)
        whole = bytes(range(256)) * 1200
        for at in range(0, len(whole), piece):
            await body.append(whole[at : at + piece])
            n_came = min(at + piece, len(whole))
            assert n_came <= body.n_held <= max(2 * n_came, bodies.PAGE_BYTES)
            assert ledger.used_bytes == reservation.n_bytes == body.n_held
        assert body.memory[: body.n_bytes] == whole

    run(grow())


def test_pages_that_nothing_was_written_to_are_not_there():
    async def grow():
        _, _, body = await beginning(1 << 30, 256 << 20)
        place = address_of(body.memory)[1], len(body.memory)
        await body.append(b"x")
        assert 0 < resident_within(*place) <= mmap.PAGESIZE
        await body.append(bytes(8 << 20))
        assert (
            8 << 20
            <= resident_within(address_of(body.memory)[1], len(body.memory))
            <= (8 << 20) + mmap.PAGESIZE
        )

    run(grow())


def test_what_is_beside_a_body_is_taken_at_its_end():
    async def grow():
        ledger, reservation, body = await beginning(1 << 30, 10_000, beside=5000)
        await body.append(bytes(10_000))
        assert (ledger.used_bytes, reservation.missing_bytes) == (10_000, 5000)
        await body.hold_rest()
        assert (ledger.used_bytes, reservation.missing_bytes) == (15_000, 0)

    run(grow())


def test_a_body_beyond_its_most_is_refused_before_it_has_memory():
    async def grow():
        ledger, _, body = await beginning(1 << 30, 100_000)
        await body.append(bytes(100_000))
        with pytest.raises(HttpError, match=r"97\.7 KiB") as info:
            await body.append(b"x")
        assert info.value.status == 413
        assert ledger.used_bytes == 100_000

    run(grow())


def test_a_body_that_finds_no_memory_beyond_its_promise_gives_up_and_does_not_wait():
    async def grow():
        ledger, _, body = await beginning(200_000, 1 << 20, promised=65_536)
        others = ledger.try_reserve(100_000)
        await body.append(bytes(70_000))  # there is no room for twice that
        assert ledger.used_bytes == 170_000
        with pytest.raises(HttpError) as info:
            await body.append(bytes(30_001))
        assert info.value.status == 503
        assert ("Retry-After", "1") in info.value.headers
        others.release()
        await body.append(bytes(30_001))

    run(grow())


def test_a_body_that_no_memory_would_hold_is_not_told_to_come_again():
    async def grow():
        _, _, body = await beginning(100_000, 1 << 20, promised=65_536)
        await body.append(bytes(70_000))
        with pytest.raises(HttpError, match="all requests together") as info:
            await body.append(bytes(30_001))
        assert (info.value.status, info.value.headers) == (413, ())

    run(grow())


def test_what_was_promised_is_waited_for_as_long_as_admission_allows():
    async def grow():
        ledger, _, body = await beginning(100_000, 80_000)
        other = ledger.try_reserve(90_000)
        with pytest.raises(HttpError) as info:
            await body.append(bytes(80_000))
        assert info.value.status == 503
        asyncio.get_running_loop().call_later(0.01, other.release)
        await body.append(bytes(80_000))
        assert ledger.used_bytes == 80_000

    run(grow())


def test_a_mapping_that_the_system_refuses_is_no_bug():
    with pytest.raises(MemoryError):
        bodies.allocate(1 << 62)


def test_more_than_there_ever_is_is_too_large():
    async def ask():
        with pytest.raises(HttpError) as info:
            await bodies.reserve(Ledger(10), 11, admission_s=60)
        assert info.value.status == 413

    run(ask())


def test_who_waits_for_memory_too_long_is_sent_away():
    async def ask():
        ledger = Ledger(10)
        first = await bodies.reserve(ledger, 10, admission_s=60)
        with pytest.raises(HttpError) as info:
            await bodies.reserve(ledger, 1, admission_s=0.01)
        assert info.value.status == 503
        waiting = asyncio.create_task(bodies.reserve(ledger, 1, admission_s=60))
        await asyncio.sleep(0)
        first.release()
        assert (await waiting).n_bytes == 1

    run(ask())
