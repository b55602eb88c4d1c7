"""HTTP/2 as no client of gRPC speaks it: by hand, wrong, too much, and cut off."""

import asyncio
import threading
import time
from contextlib import suppress

import pytest
from h2.errors import ErrorCodes
from h2.events import PingAckReceived, RemoteSettingsChanged, WindowUpdated
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferonnx.oip import grpc as codec
from inferonnx.server.bodies import PAGE_BYTES
from inferonnx.server.grpc import guard, limits
from inferonnx.server.grpc.framing import PREFIX_BYTES, encode_prefix
from inferonnx.sizes import MIB
from serving.h2_client import H2Client
from serving.questions import answered, question
from serving.running import PATIENCE_S, until

LIVE = codec.encode_message("ServerLiveResponse", {"live": True})


def test_a_call_is_answered(client):
    reply = client.call("ServerLive")
    assert reply.fields[":status"] == "200"
    assert reply.fields["content-type"] == "application/grpc"
    assert reply.fields["grpc-accept-encoding"] == "identity, gzip, deflate"
    assert (reply.status, reply.messages) == (0, [LIVE])


def test_settings_come_first_and_are_no_less_than_the_standard(client):
    (first,) = settings_of(client)
    assert first[SettingCodes.MAX_CONCURRENT_STREAMS] == limits.CALLS_EACH
    assert first[SettingCodes.INITIAL_WINDOW_SIZE] == limits.WIDE_BYTES
    assert first[SettingCodes.MAX_FRAME_SIZE] == limits.FRAME_BYTES
    (window,) = [e for e in client.events if isinstance(e, WindowUpdated)]
    assert 65_535 + window.delta == limits.WIDE_CONNECTION_BYTES


def test_no_fewer_calls_are_ever_offered_than_were(start, monkeypatch):
    """grpcio may wait for ever with those that it has begun."""
    monkeypatch.setattr(limits, "CALM_S", 0.1)
    message, data = question(3000)
    with H2Client(start()) as client:
        for n_changes in (3, 5):  # narrow and wide again, at least
            numbers = [client.begin("ModelInfer") for _ in range(4)]
            for number in numbers:
                client.send(number, encode_prefix(len(message)) + message, end=True)
            assert [answered(client.reply(number)) for number in numbers] == [data] * 4
            time.sleep(0.2)
            client.call("ServerLive")
            client.receive_until(lambda n=n_changes: len(settings_of(client)) >= n)
        offered = [one.get(SettingCodes.MAX_CONCURRENT_STREAMS) for one in settings_of(client)]
        assert offered[0] == limits.CALLS_EACH
        assert not any(offered[1:])


def settings_of(client):
    changed = [e.changed_settings for e in client.events if isinstance(e, RemoteSettingsChanged)]
    return [{code: one.new_value for code, one in settings.items()} for settings in changed]


@pytest.mark.parametrize("n", [1, 1000, 16_000, 17_000, 200_000, 1_000_000])
def test_a_message_of_any_size_is_given_back(client, n):
    message, data = question(n)
    assert answered(client.call("ModelInfer", message)) == data


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_a_message_in_many_frames_is_the_same(client, step):
    message, data = question(200)
    framed = encode_prefix(len(message)) + message
    number = client.begin("ModelInfer")
    for at in range(0, len(framed), step):
        client.send(number, framed[at : at + step])
    client.h2.end_stream(number)
    client.flush()
    assert answered(client.reply(number)) == data


def test_padding_counts_and_is_given_back(client):
    message, data = question(40_000)
    framed = encode_prefix(len(message)) + message
    number = client.begin("ModelInfer")
    for at in range(0, len(framed), 600):  # a third of all is padding: more than the window
        while client.h2.local_flow_control_window(number) < 900:
            client.receive()
        client.h2.send_data(number, framed[at : at + 600], pad_length=255)
        client.flush()
    client.h2.end_stream(number)
    client.flush()
    assert answered(client.reply(number)) == data


def test_calls_on_one_connection_do_not_wait_for_each_other(server, client):
    server.parts.engine.gate.clear()
    message, data = question()
    slow = client.begin("ModelInfer")
    client.send(slow, encode_prefix(len(message)) + message, end=True)
    until(lambda: server.parts.engine.n_runs)
    assert client.call("ServerLive").messages == [LIVE]
    assert not client.replies[slow].is_over
    server.parts.engine.gate.set()
    assert answered(client.reply(slow)) == data


def test_hundred_calls_at_once(client):
    message, data = question(3000)
    numbers = [client.begin("ModelInfer") for _ in range(limits.CALLS_EACH)]
    for number in numbers:
        client.send(number, encode_prefix(len(message)) + message, end=True)
    good = [reply for reply in map(client.reply, numbers) if reply.status == 0]
    busy = [client.reply(number) for number in numbers if client.reply(number).status == 14]
    assert len(good) + len(busy) == len(numbers)
    assert len(good) >= 64  # the queue's places
    assert all(answered(reply) == data for reply in good)


# Memory and windows.


def window(client):
    return client.h2.remote_settings.initial_window_size


def test_while_memory_is_short_no_more_comes_than_a_narrow_window(start):
    server = start(ledger_bytes=2 * MIB)
    kept = server.run(_reserve(server, 2 * MIB - 1))
    message, data = question(100_000)
    framed = encode_prefix(len(message)) + message
    with H2Client(server) as client:
        first = client.begin("ModelInfer")
        client.send(first, framed[:10])
        client.receive_until(lambda: window(client) == limits.NARROW_BYTES)
        number = client.begin("ModelInfer")
        assert client.h2.local_flow_control_window(number) == limits.NARROW_BYTES
        client.send(number, framed[: limits.NARROW_BYTES])
        held = 10 + limits.NARROW_BYTES - 2 * PREFIX_BYTES
        until(lambda: server.grpc.commons.held_bytes == held)
        assert client.h2.local_flow_control_window(number) == 0
        assert server.parts.ledger.n_waiting == 2
        server.run(_release(kept))
        client.send(number, framed[limits.NARROW_BYTES :], end=True)
        client.send(first, framed[10:], end=True)
        assert answered(client.reply(number)) == data
        assert answered(client.reply(first)) == data


def sent_blindly(client, numbers, framed):
    """Send as much of a message as the windows let on each call, without reading."""
    for number in numbers:
        there, at = client.h2.local_flow_control_window(number), 0
        while at < min(len(framed), there):
            part = framed[at : min(at + limits.FRAME_BYTES, there)]
            client.h2.send_data(number, part)
            at += len(part)
        yield number, at
    client.flush()


def test_a_client_that_begins_many_calls_with_wide_windows_sends_no_more_than_can_wait(start):
    server = start(ledger_bytes=4 * MIB)
    kept = server.run(_reserve(server, 4 * MIB - 1))
    message, data = question(60_000)
    framed = encode_prefix(len(message)) + message
    with H2Client(server) as client:
        numbers = [client.begin("ModelInfer") for _ in range(20)]
        sent = dict(sent_blindly(client, numbers, framed))
        assert sum(sent.values()) == limits.WIDE_CONNECTION_BYTES
        n_prefixes = PREFIX_BYTES * sum(n > 0 for n in sent.values())
        held = limits.WIDE_CONNECTION_BYTES - n_prefixes
        until(lambda: server.grpc.commons.held_bytes == held)
        assert not server.grpc.commons.is_full
        server.run(_release(kept))
        for number, n in sent.items():
            client.send(number, framed[n:], end=True)
        assert [answered(client.reply(number)) for number in numbers] == [data] * 20


def test_what_waits_is_in_nobody_s_way(start):
    """The first message has its memory; those behind it take all of the connection's window."""
    (one, one_data), (two, two_data) = question(200_000), question(900_000)
    one, two = (encode_prefix(len(message)) + message for message in (one, two))
    server = start(ledger_bytes=6 * MIB)
    with H2Client(server) as client:
        first = client.begin("ModelInfer")
        client.send(first, one[:-1000])
        until(lambda: server.parts.ledger.used_bytes >= len(one) - PREFIX_BYTES)
        numbers = [client.begin("ModelInfer") for _ in range(5)]
        sent = dict(sent_blindly(client, numbers, two))
        assert client.h2.local_flow_control_window(first) == 0
        client.send(first, one[-1000:], end=True)
        assert answered(client.reply(first)) == one_data
        for number in numbers:
            client.send(number, two[sent[number] :], end=True)
        assert [answered(client.reply(number)) for number in numbers] == [two_data] * 5


def test_a_window_that_becomes_narrow_under_a_message_opens_for_all_of_it(start):
    server = start(ledger_bytes=2 * MIB)
    (one, one_data), (two, two_data) = question(200_000), question(375_000)
    one, two = (encode_prefix(len(message)) + message for message in (one, two))
    with H2Client(server) as client:
        first = client.begin("ModelInfer")
        client.send(first, one[:1000])
        until(lambda: server.parts.ledger.used_bytes)
        second = client.begin("ModelInfer")
        client.send(second, two[:1000])
        client.receive_until(lambda: window(client) == limits.NARROW_BYTES)
        client.send(first, one[1000:], end=True)
        assert answered(client.reply(first)) == one_data
        client.send(second, two[1000:], end=True)
        assert answered(client.reply(second)) == two_data


def test_a_window_that_becomes_narrow_between_messages_opens_for_the_next(start):
    """What a stream's messages had used up of a wide window is gone from the narrow one."""
    message, data = question(10_000)
    framed = encode_prefix(len(message)) + message
    with H2Client(start()) as client:
        number = client.begin(codec.STREAM)
        reply = client.replies[number]
        client.send(number, framed)
        client.receive_until(lambda: len(reply.data) > len(data))
        assert client.call("ServerLive").status == 0  # a call more: it is narrow for all
        client.receive_until(lambda: window(client) == limits.NARROW_BYTES)
        client.send(number, framed, end=True)
        assert client.reply(number).status == 0
        assert len(reply.messages) == 2


def test_windows_are_wide_again_when_memory_is_there(start, monkeypatch):
    monkeypatch.setattr(limits, "CALM_S", 0.2)
    server = start(ledger_bytes=2 * MIB)
    kept = server.run(_reserve(server, 2 * MIB))
    message, data = question(10)
    with H2Client(server) as client:
        number = client.begin("ModelInfer")
        client.send(number, encode_prefix(len(message)) + message, end=True)
        client.receive_until(lambda: window(client) == limits.NARROW_BYTES)
        server.run(_release(kept))
        assert answered(client.reply(number)) == data
        time.sleep(0.3)
        client.call("ServerLive")
        client.receive_until(lambda: window(client) == limits.WIDE_BYTES)
        assert answered(client.call("ModelInfer", message)) == data


def test_an_image_needs_no_window_but_the_first(client):
    """All of it is sent before anything is read: no round trip."""
    message, data = question(3 * 224 * 224)
    framed = encode_prefix(len(message)) + message
    number = client.begin("ModelInfer")
    for at in range(0, len(framed), 16_384):
        client.h2.send_data(number, framed[at : at + 16_384])
    client.h2.end_stream(number)
    client.flush()
    assert answered(client.reply(number)) == data


def test_a_call_waits_for_memory_and_then_is_told_to_come_again(start):
    server = start(ledger_bytes=2 * MIB, admission_s=0.1)
    kept = server.run(_reserve(server, 2 * MIB))
    with H2Client(server) as client:
        reply = client.call("ModelInfer", question()[0])
        assert reply.status == 14
        assert "memory" in reply.fields["grpc-message"]
        assert reply.fields["grpc-retry-pushback-ms"] == "1000"
    server.run(_release(kept))


def test_a_message_that_all_memory_would_not_hold_is_refused_at_once(start):
    server = start(ledger_bytes=2 * MIB)
    with H2Client(server) as client:
        number = client.begin("ModelInfer")
        client.send(number, encode_prefix(3 * MIB) + bytes(100))
        reply = client.reply(number)
        assert reply.status == 8
        assert client.call("ServerLive").status == 0


def test_a_message_beyond_the_limit_is_refused_at_its_prefix(start):
    server = start(body_bytes=10_000)
    with H2Client(server) as client:
        number = client.begin("ModelInfer")
        client.send(number, encode_prefix(10_001))
        reply = client.reply(number)
        assert reply.status == 8
        assert reply.fields["grpc-message"] == "a message is larger than 9.8 KiB"
        assert client.call("ServerLive").status == 0


def waiting(client, n, message):
    """Begin calls that wait for memory, as far as their windows let them."""
    numbers = [client.begin("ModelInfer") for _ in range(n)]
    framed = encode_prefix(len(message)) + message
    for number in numbers:
        client.send(number, framed[: min(len(framed), limits.NARROW_BYTES)])
    return numbers, framed[limits.NARROW_BYTES :]


def test_nothing_is_read_of_a_client_while_too_much_waits(start):
    server = start(ledger_bytes=4 * MIB)
    server.grpc.commons._most_bytes = 100_000
    kept = server.run(_reserve(server, 4 * MIB))
    message, data = question(10_000)
    with H2Client(server) as client, H2Client(server) as other:
        client.begin("ModelStreamInfer")
        numbers, rest = waiting(client, 20, message)
        until(lambda: server.grpc.commons.is_full)
        assert server.grpc.commons.held_bytes < 100_000 + 64 * 1024
        assert other.call("ServerLive").status == 0  # it holds nothing
        time.sleep(3 * limits.PAUSE_S)
        assert not any(client.replies[number].is_over for number in numbers)
        server.run(_release(kept))
        for number in numbers:
            client.send(number, rest, end=True)
        assert [answered(client.reply(number)) for number in numbers] == [data] * 20


def test_a_message_that_has_its_memory_comes_on_though_too_much_waits(start):
    server = start(ledger_bytes=4 * MIB)
    server.grpc.commons._most_bytes = 100_000
    message, data = question(200_000)
    with H2Client(server) as client:
        client.begin("ModelStreamInfer")
        first = client.begin("ModelInfer")
        framed = encode_prefix(len(message)) + message
        client.send(first, framed[:-1000])
        ledger = server.parts.ledger
        until(lambda: ledger.used_bytes >= len(message))
        kept = server.run(_reserve(server, ledger.total_bytes - ledger.used_bytes))
        numbers, _ = waiting(client, 20, question(900_000)[0])
        client.receive_until(lambda: any(client.replies[n].is_over for n in numbers))
        refused = [n for n in numbers if client.replies[n].is_over]
        client.send(first, framed[-1000:], end=True)
        server.run(_release(kept))
        assert answered(client.reply(first)) == data
        assert 0 < len(refused) < len(numbers)
        assert {client.replies[number].status for number in refused} == {14}


def test_the_client_s_windows_are_kept_to(server):
    message, data = question(100_000)
    with H2Client(server) as client:
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        client.flush()
        number = client.begin("ModelInfer")
        client.send(number, encode_prefix(len(message)) + message, end=True)
        reply = client.replies[number]
        client.receive_until(lambda: reply.is_over)  # h2 refuses what is more than the window
        assert answered(reply) == data


def test_a_client_that_opens_no_window_is_given_up(start):
    server = start(reply_s=0.2)
    message, _ = question(100_000)
    with H2Client(server) as client:
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        client.flush()
        number = client.begin("ModelInfer")
        client.send(number, encode_prefix(len(message)) + message, end=True)
        reply = client.reply(number)
        assert reply.reset_code == ErrorCodes.CANCEL
        assert client.call("/nothing").status == 12  # no data in its answer: no window needed
    assert [figures.details.get("grpc") for _, figures in server.notes.answers] == [1, 12]


def test_a_large_answer_that_is_read_at_a_trickle_is_given_up(start):
    """By the least rate alone, each of these bytes would be good for a second."""
    server = start(reply_s=0.3, bytes_per_s=1, body_s=60)
    message, _ = question(900_000)
    with H2Client(server) as client:
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        client.flush()
        number = client.begin("ModelInfer")
        client.send(number, encode_prefix(len(message)) + message, end=True)

        def trickle():
            time.sleep(0.02)
            reply = client.replies[number]
            if not reply.is_over:
                client.h2.increment_flow_control_window(1, number)
                client.flush()
            return reply.is_over

        client.receive_until(trickle)
        assert client.replies[number].reset_code == ErrorCodes.CANCEL
    assert [figures.details.get("grpc") for _, figures in server.notes.answers] == [1]


async def _reserve(server, n_bytes):
    return await server.parts.ledger.reserve(n_bytes)


async def _release(reservation):
    reservation.release()


# Ends.


def test_a_reset_call_is_not_computed(server, client):
    server.parts.engine.gate.clear()
    message, _ = question()
    numbers = []
    for _ in range(5):
        numbers.append(client.begin("ModelInfer"))
        client.send(numbers[-1], encode_prefix(len(message)) + message, end=True)
    until(lambda: server.n_pending == 5 and server.parts.engine.n_runs == 2)  # three wait
    for number in numbers[2:]:
        client.h2.reset_stream(number, ErrorCodes.CANCEL)
    client.flush()
    until(lambda: server.grpc.commons.n_calls == 2)
    server.parts.engine.gate.set()
    assert [client.reply(number).status for number in numbers[:2]] == [0, 0]
    assert server.parts.engine.n_runs == 2


@pytest.mark.parametrize("goodbye", [True, False], ids=["goaway", "gone"])
def test_a_client_that_leaves_is_not_computed_for(server, goodbye):
    server.parts.engine.gate.clear()
    message, _ = question()
    with H2Client(server) as client:
        for _ in range(5):
            number = client.begin("ModelInfer")
            client.send(number, encode_prefix(len(message)) + message, end=True)
        until(lambda: server.n_pending == 5 and server.parts.engine.n_runs == 2)
        if goodbye:
            client.h2.close_connection()
            client.flush()
            until(lambda: server.grpc.commons.n_calls == 2)
    until(lambda: server.grpc.commons.n_calls == 2)  # what is computed is in use until it is
    server.parts.engine.gate.set()
    until(lambda: server.grpc.commons.n_calls == 0)
    assert server.parts.engine.n_runs == 2
    assert {figures.details["grpc"] for _, figures in server.notes.answers} == {1}


def test_a_drain_answers_what_is_under_way_and_says_where_it_stops(server):
    server.parts.engine.gate.clear()
    message, data = question()
    with H2Client(server) as busy, H2Client(server) as idle:
        number = busy.begin("ModelInfer")
        busy.send(number, encode_prefix(len(message)) + message, end=True)
        until(lambda: server.parts.engine.n_runs)
        draining = asyncio.run_coroutine_threadsafe(server.listener.drain(), server.loop)
        idle.receive_until(lambda: False)
        assert idle.goaways[-1].last_stream_id == 0
        busy.receive_until(lambda: busy.goaways)
        assert busy.goaways[0].last_stream_id == 2**31 - 1
        busy.receive_until(lambda: len(busy.goaways) == 2)
        assert busy.goaways[1].last_stream_id == number
        assert not draining.done()
        server.parts.engine.gate.set()
        assert answered(busy.reply(number)) == data
        busy.receive_until(lambda: False)
        assert busy.ended
        draining.result(10)


def test_a_connection_whose_place_is_needed_answers_what_was_on_its_way(start):
    server = start(n_connections=1)
    message, data = question()
    found = []

    def ask():
        with H2Client(server) as second:
            found.append(second.call("ServerLive").messages)

    with H2Client(server) as first:
        first.call("ServerLive")  # who has just come is left alone
        thread = threading.Thread(target=ask)
        thread.start()
        (carrier,) = server.grpc._connections
        until(lambda: carrier._is_draining)
        number = first.begin("ModelInfer")  # it has not read that it should not
        first.send(number, encode_prefix(len(message)) + message, end=True)
        assert answered(first.reply(number)) == data
        assert first.goaways[0].last_stream_id == 2**31 - 1
        first.receive_until(lambda: False)
        assert first.goaways[-1].last_stream_id == number
    thread.join(PATIENCE_S)
    assert found == [[LIVE]]


@pytest.mark.parametrize("has_called", [True, False])
def test_an_idle_connection_ends_with_a_goodbye(start, has_called, monkeypatch):
    monkeypatch.setattr(limits, "KEEPALIVE_S", 0.05)
    server = start(idle_s=0.1, head_s=10 if has_called else 0.1)
    with H2Client(server) as client:
        if has_called:
            client.call("ServerLive")
        client.receive_until(lambda: False)
        assert [g.error_code for g in client.goaways] == [ErrorCodes.NO_ERROR]


def test_a_silent_client_with_a_call_is_asked_whether_it_is_there(server, monkeypatch):
    monkeypatch.setattr(limits, "KEEPALIVE_S", 0.1)
    monkeypatch.setattr(limits, "PING_S", 2)
    with H2Client(server) as client:
        client.begin("ModelStreamInfer")
        end = time.monotonic() + 1
        client.receive_until(lambda: time.monotonic() > end)  # h2 answers pings
        assert not client.ended
        until(lambda: client.sock.recv(1) == b"")  # nobody answers
    until(lambda: server.notes.answers)  # told once the call has ended, behind the connection
    assert [figures.details["grpc"] for _, figures in server.notes.answers] == [1]


def test_a_slow_message_is_given_up(start):
    server = start(grace_s=0.2, bytes_per_s=1000)
    with H2Client(server) as client:
        number = client.begin("ModelInfer")
        client.send(number, encode_prefix(1000) + bytes(10))
        reply = client.reply(number)
        assert reply.status == 4
        assert "too slowly" in reply.fields["grpc-message"]
        assert client.call("ServerLive").status == 0


def test_messages_that_are_announced_and_never_come_hold_no_memory(start):
    server = start(ledger_bytes=4 * MIB)
    message, data = question()
    with H2Client(server) as silent, H2Client(server) as client:
        for _ in range(20):
            silent.send(silent.begin("ModelInfer"), encode_prefix(2 * MIB))
        until(lambda: server.grpc.commons.n_calls == 20)
        assert answered(client.call("ModelInfer", message)) == data
        until(lambda: not server.parts.ledger.used_bytes)  # the reply comes first


def test_messages_of_which_little_has_come_hold_little(start):
    """All memory is announced ten times over and begun; whoever sends something has it."""
    server = start(ledger_bytes=4 * MIB)
    message, data = question(500_000)
    with H2Client(server) as silent, H2Client(server) as client:
        for _ in range(20):
            silent.send(silent.begin("ModelInfer"), encode_prefix(2 * MIB) + b"x")
        until(lambda: server.parts.ledger.used_bytes == 20 * PAGE_BYTES)
        for _ in range(3):
            assert answered(client.call("ModelInfer", message)) == data
        assert server.parts.ledger.n_waiting == 0


def test_a_message_that_stands_still_gives_its_memory_to_who_waits(start):
    """It has sent enough for half an hour by the least rate, and has no more than half a second."""
    server = start(ledger_bytes=4 * MIB, grace_s=0.5, bytes_per_s=1000)
    message, data = question(500_000)
    with H2Client(server) as client:
        number = client.begin("ModelInfer")
        client.send(number, encode_prefix(3_000_000) + bytes(1_000_000))
        until(lambda: server.parts.ledger.used_bytes >= 1_000_000)
        assert answered(client.call("ModelInfer", message)) == data
        assert client.reply(number).status == 4


def test_a_message_that_comes_slowly_but_fast_enough_is_taken(start):
    server = start(grace_s=1, bytes_per_s=100)  # alone that second would not do
    message, data = question(200)
    framed = encode_prefix(len(message)) + message
    with H2Client(server) as client:
        number = client.begin("ModelInfer")
        for at in range(0, len(framed), 200):
            client.send(number, framed[at : at + 200])
            time.sleep(0.3)
        client.h2.end_stream(number)
        client.flush()
        assert answered(client.reply(number)) == data


@pytest.mark.parametrize("n_turns", range(6))
def test_a_call_that_is_reset_as_it_gets_its_memory_leaves_nothing(start, n_turns):
    """The fixture looks: nothing is reserved when the server ends."""
    server = start(ledger_bytes=2 * MIB)
    kept = server.run(_reserve(server, 2 * MIB))
    with H2Client(server) as client:
        number = client.begin("ModelInfer")
        client.send(number, encode_prefix(1000) + bytes(10))
        until(lambda: server.parts.ledger.n_waiting)
        ((_, task),) = next(iter(server.grpc._connections))._calls.values()

        async def grant_and_cancel():
            kept.release()
            for _ in range(n_turns):
                await asyncio.sleep(0)
            task.cancel()

        server.run(grant_and_cancel())
        until(lambda: server.grpc.commons.n_calls == 0)
        assert server.parts.ledger.used_bytes == 0


# What no client does.


def closed_with(client):
    client.receive_until(lambda: False)
    assert client.ended
    return client.goaways[-1].error_code


def send_raw(client, *frames):
    with suppress(OSError):  # it has closed already
        client.sock.sendall(b"".join(frame.serialize() for frame in frames))


def test_streams_that_are_reset_all_the_time_end_the_connection(server, client):
    head = client.h2.encoder.encode([(":method", "POST"), (":path", "/x"), (":scheme", "https")])
    frames = []
    for i in range(guard.RESETS + 50):
        frames += [
            HeadersFrame(2 * i + 1, head, flags=["END_HEADERS"]),
            RstStreamFrame(2 * i + 1, error_code=8),
        ]
    send_raw(client, *frames)
    assert closed_with(client) == ErrorCodes.ENHANCE_YOUR_CALM
    assert server.notes.refusals == ["calls that are reset all the time"]


def test_endless_header_fields_end_the_connection(server, client):
    frames = [HeadersFrame(1, bytes(8192))] + [ContinuationFrame(1, bytes(8192))] * 3
    send_raw(client, *frames)
    assert closed_with(client) == ErrorCodes.ENHANCE_YOUR_CALM


def test_header_fields_that_unpack_to_much_end_the_connection(client):
    head = client.h2.encoder.encode([("x", "a" * 4000)])
    again = client.h2.encoder.encode([("x", "a" * 4000)]) * 100
    send_raw(client, HeadersFrame(1, head + again, flags=["END_HEADERS"]))
    assert closed_with(client) == ErrorCodes.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    "frame",
    [PingFrame(0, bytes(8)), SettingsFrame(0), PriorityFrame(1, depends_on=0), DataFrame(1)],
    ids=["ping", "settings", "priority", "empty data"],
)
def test_frames_that_say_nothing_end_the_connection(server, client, frame):
    client.begin()
    send_raw(client, *[frame] * (guard.IDLE_FRAMES + 600))
    assert closed_with(client) == ErrorCodes.ENHANCE_YOUR_CALM
    assert server.notes.refusals == ["frames that say nothing, all the time"]


def test_more_calls_than_were_offered_end_the_connection(server, client):
    for _ in range(limits.CALLS_EACH):
        client.begin("ModelStreamInfer")
    assert client.h2.remote_settings.max_concurrent_streams == limits.CALLS_EACH
    client.h2.remote_settings.update({SettingCodes.MAX_CONCURRENT_STREAMS: 1000})
    client.h2.remote_settings.acknowledge()
    assert client.call("ServerLive").reset_code is None
    assert client.ended
    until(lambda: server.grpc.commons.n_calls == 0)


def test_more_calls_than_the_server_takes_are_refused(start):
    server = start()
    server.grpc.commons._most_calls = 3
    with H2Client(server) as client:
        numbers = [client.begin("ModelStreamInfer") for _ in range(4)]
        assert client.reply(numbers[3]).reset_code == ErrorCodes.REFUSED_STREAM
        client.h2.reset_stream(numbers[0])
        client.flush()
        until(lambda: server.grpc.commons.n_calls == 2)
        assert client.call("ServerLive").status == 0


def test_what_comes_for_an_ended_call_is_thrown_away(client):
    number = client.begin("/nothing")
    assert client.reply(number).status == 12
    send_raw(client, *[DataFrame(number, bytes(16_000))] * 20)
    assert client.call("ServerLive").status == 0


def test_a_client_of_http_1_is_sent_away(server):
    client = H2Client(server, protocols=("http/1.1",))
    with client.sock:
        client.sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.receive_until(lambda: False)
    assert client.ended
    assert server.notes.refusals == ["bad HTTP/2: ProtocolError"]


def test_a_client_that_says_nothing_loses_its_connection(start):
    server = start(idle_s=0.1, head_s=0.1)
    client = H2Client(server)
    with client.sock:
        client.receive_until(lambda: False)
    assert client.ended


def test_a_goaway_of_the_client_ends_the_connection(client):
    send_raw(client, GoAwayFrame(0))
    client.receive_until(lambda: False)
    assert client.ended


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.binary(min_size=1, max_size=400), min_size=1, max_size=5), st.booleans())
def test_garbage_harms_nobody(server, parts, has_preface):
    """Others are served on, and nothing fails that was not meant to."""
    client = H2Client(server)
    if has_preface:
        client.h2.initiate_connection()
        client.flush()
    with suppress(OSError):
        for part in parts:
            client.sock.sendall(part)
    client.sock.close()
    with H2Client(server) as other:
        assert other.call("ServerLive").messages == [LIVE]
    assert server.notes.failures == []


FRAMES = st.builds(
    lambda kind, flags, stream, body: (
        len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body
    ),
    st.integers(0, 12),
    st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D, 0xFF]),
    st.sampled_from([0, 1, 2, 3, 5, 2**31 - 1]),
    st.binary(max_size=60),
)


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(FRAMES, min_size=1, max_size=6))
def test_well_formed_frames_that_make_no_sense_harm_nobody(server, frames):
    with H2Client(server) as client:
        number = client.begin("ModelStreamInfer")
        client.send(number, encode_prefix(50) + b"ab")
        with suppress(OSError):
            client.sock.sendall(b"".join(frames))
    with H2Client(server) as other:
        assert other.call("ServerLive").messages == [LIVE]
    assert server.notes.failures == []


def test_a_ping_is_answered(client):
    client.h2.ping(b"12345678")
    client.flush()
    client.receive_until(lambda: any(isinstance(e, PingAckReceived) for e in client.events))
    assert not client.ended
