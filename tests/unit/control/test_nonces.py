"""Rules O-09 to O-13 of docs/owner-requests.md, attacked."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule

from inferonnx.control import NONCE_BYTES, NONCE_RANDOM_BYTES, NonceBook
from inferonnx.control.nonces import MAX_AGE_S, MAX_USED
from inferonnx.crypto import Secret
from inferonnx.errors import NonceError

SECRET = Secret(bytes(range(32)))
RANDOM = bytes(NONCE_RANDOM_BYTES)


def randoms():
    for i in itertools.count():
        yield i.to_bytes(NONCE_RANDOM_BYTES, "big")


@pytest.fixture
def book():
    return NonceBook(SECRET)


def test_a_nonce_is_taken_back_once(book):  # O-11
    nonce = book.issue(100, RANDOM)
    assert len(nonce) == NONCE_BYTES
    book.use(nonce, 100)
    for now_s in (100, 101, 160, 161, 10_000):
        with pytest.raises(NonceError):
            book.use(nonce, now_s)


@pytest.mark.parametrize(("age_s", "is_good"), [(0, True), (60, True), (61, False), (9**9, False)])
def test_a_nonce_has_a_greatest_age(book, age_s, is_good):  # O-10
    nonce = book.issue(100, RANDOM)
    if is_good:
        book.use(nonce, 100 + age_s)
    else:
        with pytest.raises(NonceError, match="older than 60 seconds"):
            book.use(nonce, 100 + age_s)


def test_a_nonce_of_another_server_or_of_before_a_restart_is_refused(book):  # O-09
    nonce = NonceBook(Secret(bytes(32))).issue(100, RANDOM)
    with pytest.raises(NonceError, match="not one of this server"):
        book.use(nonce, 100)
    NonceBook(SECRET).use(book.issue(100, RANDOM), 100)  # only the secret decides


@given(st.binary(max_size=80))
def test_made_up_bytes_are_no_nonce(data):  # O-09
    with pytest.raises(NonceError):
        NonceBook(SECRET).use(data, 100)


@given(st.integers(0, NONCE_BYTES - 1), st.integers(0, 7))
def test_a_changed_nonce_is_refused(place, bit):  # O-09
    book = NonceBook(SECRET)
    changed = bytearray(book.issue(100, RANDOM))
    changed[place] ^= 1 << bit
    with pytest.raises(NonceError, match="not one of this server"):
        book.use(bytes(changed), 100)
    with pytest.raises(NonceError, match="not one of this server"):
        book.use(bytes(changed[:-1]), 100)


def test_refused_nonces_are_not_used_up(book):
    nonce = book.issue(100, RANDOM)
    with pytest.raises(NonceError):
        book.use(nonce + b"\0", 100)
    book.use(nonce, 100)


def test_a_clock_that_is_turned_back_changes_nothing(book):  # O-12
    used, old = book.issue(100, RANDOM), book.issue(100, bytes([1] * 12))
    book.use(used, 100)
    other = book.issue(500, bytes([2] * 12))
    book.use(other, 500)  # the first is forgotten now
    for now_s in (100, 160, 0, -5):
        for nonce in (used, old, other):
            with pytest.raises(NonceError):
                book.use(nonce, now_s)
    # Nonces of the time that was turned back are as old as the latest time.
    late = book.issue(100, bytes([3] * 12))
    with pytest.raises(NonceError, match="older"):
        book.use(late, 561)


@pytest.mark.parametrize("now_s", [-(10**12), -1, 2**32 - 1, 2**32, 10**30])
def test_any_clock_gives_nonces(book, now_s):  # O-12
    nonce = book.issue(now_s, RANDOM)
    book.use(nonce, now_s)
    with pytest.raises(NonceError, match="used before"):
        book.use(nonce, 0)


def test_asking_for_nonces_keeps_nothing(book):
    before = {name: repr(value) for name, value in vars(book).items()}
    for random in itertools.islice(randoms(), 1000):
        book.issue(0, random)
    assert {name: repr(value) for name, value in vars(book).items()} == before


def test_memory_for_used_nonces_is_bounded_and_none_is_forgotten_early(book):  # O-13
    drawn = randoms()
    nonces = [book.issue(100, next(drawn)) for _ in range(MAX_USED)]
    for nonce in nonces:
        book.use(nonce, 100)
    more = book.issue(100, next(drawn))
    with pytest.raises(NonceError, match="too many requests"):
        book.use(more, 160)
    for nonce in (nonces[0], nonces[-1]):
        with pytest.raises(NonceError, match="used before"):
            book.use(nonce, 160)
    later = book.issue(160, next(drawn))
    book.use(later, 161)  # the others are too old now, and forgotten
    assert len(book._used) == 1


def test_sizes_are_checked(book):
    with pytest.raises(ValueError, match="12 random bytes"):
        book.issue(0, bytes(16))
    with pytest.raises(ValueError, match="32 bytes"):
        NonceBook(Secret(b"short"))


class Books(RuleBasedStateMachine):
    """No order of asking, using and turning the clock takes a nonce back twice."""

    nonces = Bundle("nonces")

    def __init__(self):
        super().__init__()
        self.book = NonceBook(SECRET)
        self.now_s, self.latest_s = 1000, 0
        self.random = randoms()
        self.taken = set()
        self.issued_s = {}

    @rule(seconds=st.integers(-200, 200))
    def turn_the_clock(self, seconds):
        self.now_s = max(0, self.now_s + seconds)

    def tick(self):
        self.latest_s = max(self.latest_s, self.now_s)

    @rule(target=nonces)
    def ask(self):
        self.tick()
        nonce = self.book.issue(self.now_s, next(self.random))
        self.issued_s[nonce] = self.latest_s
        return nonce

    @rule(nonce=nonces)
    def use(self, nonce):
        self.tick()
        age_s = self.latest_s - self.issued_s[nonce]
        is_good = nonce not in self.taken and age_s <= MAX_AGE_S
        try:
            self.book.use(nonce, self.now_s)
            assert is_good
            self.taken.add(nonce)
        except NonceError:
            assert not is_good


TestBooks = Books.TestCase
