import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.oip import InvalidRequestError
from inferonnx.server.grpc.framing import PREFIX_BYTES, Deframer, Prefix, encode_prefix


def pieces(data, cuts):
    stops = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    return [data[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]


@given(
    st.lists(st.binary(max_size=300), max_size=6),
    st.lists(st.integers(0, 2000), max_size=12),
    st.integers(0, 3),
    st.integers(1, 300),
)
def test_any_split_gives_the_same_messages(sent, cuts, late, step):
    data = b"".join(encode_prefix(len(message)) + message for message in sent)
    frames, found, begun, waited = Deframer(), [], False, 0
    for part in [*pieces(data, cuts), *[b""] * (4 * len(sent) + 1)]:
        frames.receive(part)
        while frames.prefix is not None:
            if not begun:
                waited += 1
                if waited <= late:  # its memory is not there yet
                    break
                frames.begin(memoryview(bytearray(frames.prefix.n_bytes)))
                begun, waited, room = True, 0, 0
            if not frames.n_room and room < frames.prefix.n_bytes:
                room = min(frames.prefix.n_bytes, 2 * room + step)
                frames.allow(room)
                continue
            if frames.n_missing:
                break
            found.append(bytes(frames.finish()))
            begun = False
    assert found == sent
    assert frames.is_between
    assert frames.n_held == 0


def test_a_prefix_is_a_flag_and_a_length():
    assert encode_prefix(0x01020304) == b"\0\1\2\3\4"
    frames = Deframer()
    frames.receive(b"\1\0\0\0")
    assert frames.prefix is None
    assert not frames.is_between
    frames.receive(b"\x07")
    assert frames.prefix == Prefix(is_compressed=True, n_bytes=7)
    assert (frames.n_missing, frames.n_held) == (7, 0)


@pytest.mark.parametrize("flag", [2, 3, 128, 255])
def test_another_flag_is_no_message(flag):
    with pytest.raises(InvalidRequestError, match=f"the flag {flag}"):
        Deframer().receive(bytes([flag]) + bytes(4))


def test_another_flag_behind_a_message_is_seen_at_its_end():
    frames = Deframer()
    frames.receive(encode_prefix(2) + b"ab\x05\0\0\0\0")
    frames.begin(memoryview(bytearray(2)))
    frames.allow(2)
    with pytest.raises(InvalidRequestError, match="the flag 5"):
        frames.finish()


def test_what_has_no_memory_yet_is_held_and_counted():
    frames = Deframer()
    frames.receive(encode_prefix(10) + b"abc")
    assert (frames.n_held, frames.n_missing) == (3, 7)
    frames.begin(memoryview(bytearray(10)))
    frames.allow(2)
    assert (frames.n_held, frames.n_missing, frames.n_room) == (1, 7, 0)
    frames.receive(b"d")
    assert (frames.n_held, frames.n_missing, frames.n_room) == (2, 6, 0)
    frames.allow(10)
    assert (frames.n_held, frames.n_missing, frames.n_room) == (0, 6, 6)
    frames.receive(b"efghij" + encode_prefix(1)[:2])
    assert (frames.n_held, frames.n_missing) == (2, 0)
    assert bytes(frames.finish()) == b"abcdefghij"
    assert (frames.n_held, frames.n_missing, frames.prefix) == (2, 0, None)
    assert not frames.is_between


def test_an_empty_message_is_a_message():
    frames = Deframer()
    frames.receive(encode_prefix(0))
    assert frames.prefix is not None
    frames.begin(memoryview(bytearray(0)))
    assert bytes(frames.finish()) == b""
    assert frames.prefix is None


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_garbage_is_refused_or_held_whatever_its_split(data, cuts):
    frames = Deframer()
    try:
        for part in pieces(data, cuts):
            frames.receive(part)
    except InvalidRequestError:
        assert data[0] > 1
    else:
        assert len(data) < PREFIX_BYTES or data[0] <= 1
        assert frames.n_held == len(data) - (PREFIX_BYTES if len(data) >= PREFIX_BYTES else 0)


def test_a_message_that_is_not_all_there_is_not_given():
    frames = Deframer()
    frames.receive(encode_prefix(3) + b"ab")
    frames.begin(memoryview(bytearray(3)))
    with pytest.raises(RuntimeError):
        frames.finish()
