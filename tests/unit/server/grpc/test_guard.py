import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.server.grpc import guard
from inferonnx.server.grpc.guard import PREFACE, FloodError, Guard

DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind, payload=b"", flags=0, stream=1):
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


def looked(*frames, now_s=0.0, block_bytes=1000, preface=PREFACE):
    looking = Guard(block_bytes=block_bytes, now_s=0)
    looking.receive(preface + b"".join(frames), now_s)
    return looking


def test_an_ordinary_call_passes():
    looked(
        frame(SETTINGS, stream=0),
        frame(HEADERS, bytes(100), END_HEADERS),
        *[frame(DATA, bytes(16_384))] * 40,
        frame(DATA, flags=END_STREAM),
        frame(WINDOW, bytes(4)),
        frame(PING, bytes(8), stream=0),
    )


@pytest.mark.parametrize("end", [0, END_HEADERS])
def test_a_large_header_block_is_a_flood(end):
    looked(frame(HEADERS, bytes(1000), end))
    with pytest.raises(FloodError, match="header fields of more than 1000 bytes"):
        looked(frame(HEADERS, bytes(1001), end))


def test_a_header_block_that_goes_on_is_a_flood():
    parts = [frame(HEADERS, bytes(100))] + [frame(CONTINUATION, bytes(100))] * 9
    looked(*parts)
    with pytest.raises(FloodError, match="header fields"):
        looked(*parts, frame(CONTINUATION, b"x"))


def test_the_length_that_a_frame_announces_is_enough():
    with pytest.raises(FloodError):
        looked(frame(HEADERS, bytes(2000))[:9])


def test_each_header_block_counts_alone():
    block = [frame(HEADERS, bytes(500)), frame(CONTINUATION, bytes(500), END_HEADERS)]
    looked(*block * 20)


def test_calls_that_are_reset_all_the_time_are_a_flood():
    call = [frame(HEADERS, bytes(30), END_HEADERS), frame(RST, bytes(4))]
    looking = looked(*call * guard.RESETS)
    with pytest.raises(FloodError, match="reset"):
        looking.receive(b"".join(call), 0)


def test_time_earns_resets():
    reset = frame(RST, bytes(4))
    looking = looked(reset * guard.RESETS)
    looking.receive(reset * guard.RESETS_PER_S, 1)
    looking.receive(reset * guard.RESETS, 1000)  # and no more than at first
    with pytest.raises(FloodError):
        looking.receive(reset, 1000)


@pytest.mark.parametrize(
    "idle",
    [
        frame(PING, bytes(8), stream=0),
        frame(SETTINGS, stream=0),
        frame(PRIORITY, bytes(5)),
        frame(WINDOW, bytes(4)),
        frame(DATA),
        frame(200, b"new"),
    ],
    ids=["ping", "settings", "priority", "window", "empty data", "unknown"],
)
def test_frames_that_say_nothing_all_the_time_are_a_flood(idle):
    looking = looked(idle * guard.IDLE_FRAMES)
    with pytest.raises(FloodError, match="say nothing"):
        looking.receive(idle, 0)


def test_bytes_that_flow_earn_frames():
    ping = frame(PING, bytes(8), stream=0)
    looking = looked(ping * guard.IDLE_FRAMES)
    looking.receive(frame(DATA, bytes(guard.BYTES_PER_IDLE_FRAME)) + ping, 0)
    looking.sent(guard.BYTES_PER_IDLE_FRAME)
    looking.receive(ping, 0)
    with pytest.raises(FloodError):
        looking.receive(ping, 0)


FRAMES = st.lists(
    st.builds(
        frame,
        st.sampled_from([DATA, HEADERS, RST, PING, CONTINUATION, 77]),
        st.binary(max_size=60),
        st.sampled_from([0, END_STREAM, END_HEADERS]),
    ),
    max_size=20,
)


def verdict(parts):
    looking = Guard(block_bytes=100, now_s=0)
    try:
        for part in parts:
            looking.receive(part, 0)
    except FloodError as error:
        return str(error)
    return None


@given(FRAMES, st.lists(st.integers(0, 1500), max_size=15))
def test_any_split_is_seen_the_same(frames, cuts):
    data = PREFACE + b"".join(frames)
    stops = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    parts = [data[a:b] for a, b in zip([0, *stops], stops, strict=False)]
    assert verdict(parts) == verdict([data])


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_garbage_is_a_flood_or_nothing(data, cuts):
    stops = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    verdict([data[a:b] for a, b in zip([0, *stops], stops, strict=False)])
