import time

import pytest

from inferonnx.client import connections
from inferonnx.client.attestation import ServerFacts
from inferonnx.client.connections import Deadline, IdleConnections
from inferonnx.errors import DeadlineError


class Line:
    """A connection as the pool sees one."""

    def __init__(self, *, key=b"k", verified_s=1.0, is_stale=False):
        self.facts = ServerFacts(
            host="h", port=1, certificate_der=b"", public_key_hash=key, tls_version="TLSv1.3"
        )
        self.verified_s, self.is_stale, self.is_closed = verified_s, is_stale, False

    def close(self):
        self.is_closed = True


def test_the_last_used_is_taken_first():
    idle, first, second = IdleConnections(), Line(), Line()
    idle.give(first)
    idle.give(second)
    assert idle.take() is second
    assert idle.take() is first
    assert idle.take() is None


def test_one_is_found_by_its_servers_key():
    idle, a, b = IdleConnections(), Line(key=b"a"), Line(key=b"b")
    idle.give(a)
    idle.give(b)
    assert idle.take(key_hash=b"a") is a
    assert idle.take(key_hash=b"a") is None
    assert not b.is_closed
    assert idle.take(key_hash=b"b") is b


def test_what_is_stale_or_verified_too_long_ago_is_closed():
    idle = IdleConnections()
    stale, old, good = Line(is_stale=True), Line(verified_s=1), Line(verified_s=5)
    for line in (good, old, stale):
        idle.give(line)
    assert idle.take(newest_s=2) is good
    assert stale.is_closed
    assert old.is_closed
    assert not good.is_closed


def test_what_was_idle_too_long_is_closed(monkeypatch):
    idle, line = IdleConnections(), Line()
    idle.give(line)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + connections.IDLE_S + 1)
    assert idle.take() is None
    assert line.is_closed


def test_not_more_are_kept_than_are_useful():
    idle = IdleConnections()
    lines = [Line() for _ in range(connections.MOST_IDLE + 1)]
    for line in lines:
        idle.give(line)
    assert [line.is_closed for line in lines].count(True) == 1


def test_a_closed_pool_keeps_nothing():
    idle, before, after = IdleConnections(), Line(), Line()
    idle.give(before)
    idle.close()
    idle.give(after)
    assert before.is_closed
    assert after.is_closed
    assert idle.take() is None


def test_deadlines(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert Deadline(None).left_s() is None
    outer = Deadline(10)
    assert outer.left_s() == 10
    assert Deadline(3, within=outer).left_s() == 3
    assert Deadline(30, within=outer).left_s() == 10
    assert Deadline(None, within=outer).left_s() == 10
    assert Deadline(3, within=Deadline(None)).left_s() == 3
    inner = Deadline(20, within=outer)
    now = 110.0
    with pytest.raises(DeadlineError, match="within 10 seconds"):
        inner.left_s()
