"""Replies are written where there is memory for them, and else while they are sent."""

import asyncio
import gzip
import json

import numpy as np
import pytest

from inferonnx.oip import BusyError, InferRequest, InferResponse, NamedTensor, WantedOutput
from inferonnx.server.answers import REPLY_BYTES, SLOW_BYTES, Inferred
from inferonnx.server.codings import compress, most_compressed_bytes
from inferonnx.server.ledger import Ledger
from inferonnx.server.writing import write_reply
from inferonnx.sizes import KIB, MIB
from inferonnx.tensors import as_tensor

NOISE = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
RESPONSE = InferResponse(model_name="m", outputs=(NamedTensor(name="y", tensor=as_tensor(NOISE)),))
INFERRED = Inferred(RESPONSE, class_bytes=0, engine_s=0)


def asked(*, binary):
    return InferRequest(model_name="m", outputs=(WantedOutput(name="y", binary=binary),))


def written(ledger, *, binary=False, accept="", before=REPLY_BYTES):
    """Return a reply to a request that holds `before`, and what is held then."""

    async def write():
        reservation = ledger.try_reserve(before)
        request = asked(binary=binary)
        reply = await write_reply(reservation, request, INFERRED, accept_encoding=accept)
        return reply, reservation

    return asyncio.run(write())


def numbers(reply):
    text = json.loads(b"".join(reply.pieces))
    return np.array(text["outputs"][0]["data"], np.float32)


def test_where_there_is_memory_all_of_it_is_written_at_once():
    reply, reservation = written(Ledger(64 * MIB))
    assert reply.length is None
    assert reservation.n_bytes == reply.n_bytes + REPLY_BYTES
    assert (numbers(reply) == NOISE).all()


def test_where_there_is_none_it_is_written_while_it_is_sent():
    reply, reservation = written(Ledger(3 * MIB))
    whole, _ = written(Ledger(64 * MIB))
    assert reply.n_bytes == reply.length == whole.n_bytes
    assert reservation.n_bytes == NOISE.nbytes + REPLY_BYTES
    pieces = iter(reply.pieces)
    assert max(map(len, pieces)) < SLOW_BYTES
    for _ in range(2):
        assert b"".join(reply.pieces) == b"".join(whole.pieces)


def test_of_two_that_have_no_room_one_waits():
    async def write():
        ledger = Ledger(MIB)
        reservations = [ledger.try_reserve(REPLY_BYTES) for _ in range(2)]
        first, second = (
            asyncio.ensure_future(
                write_reply(one, asked(binary=False), INFERRED, accept_encoding="")
            )
            for one in reservations
        )
        await first
        assert not second.done()
        reservations[0].release()
        assert (await second).length

    asyncio.run(write())


def test_what_lies_as_it_is_sent_is_held_as_it_is():
    reply, reservation = written(Ledger(64 * MIB), binary=True)
    assert reservation.n_bytes == reply.n_bytes + REPLY_BYTES
    assert reply.pieces[-1] is RESPONSE.outputs[0].tensor.data


@pytest.mark.parametrize("binary", [True, False])
def test_it_is_compressed_where_there_is_memory_for_both(binary):
    reply, reservation = written(Ledger(64 * MIB), binary=binary, accept="gzip")
    assert reply.is_compressible
    most = most_compressed_bytes(reply.n_bytes)
    assert reservation.n_bytes == reply.n_bytes + REPLY_BYTES + most
    packed = b"".join(asyncio.run(compress(reply.pieces, reply.n_bytes, "gzip")))
    assert gzip.decompress(packed) == b"".join(reply.pieces)
    assert len(packed) <= most


def test_it_is_sent_as_it_is_where_there_is_none():
    reply, reservation = written(Ledger(3 * MIB), binary=True, accept="gzip")
    assert not reply.is_compressible
    assert reservation.n_bytes == reply.n_bytes + REPLY_BYTES
    assert not written(Ledger(3 * MIB), accept="gzip")[0].is_compressible
    assert not written(Ledger(64 * MIB), binary=True, accept="gzip, br")[0].is_compressible


def test_what_cant_be_compressed_keeps_to_its_bound():
    for n_bytes in (0, 1, 100, 64 * KIB, 5 * MIB):
        data = np.random.default_rng(1).bytes(n_bytes)
        packed = asyncio.run(compress([data[:99], data[99:]], n_bytes, "gzip"))
        assert sum(map(len, packed)) <= most_compressed_bytes(n_bytes)


def test_nothing_is_written_that_could_not_stay(monkeypatch):
    monkeypatch.setattr("inferonnx.server.ledger.REPLIES_WAITING", 0)
    with pytest.raises(BusyError):
        written(Ledger(MIB))
