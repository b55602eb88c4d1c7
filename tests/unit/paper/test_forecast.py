import pytest

from inferonnx.paper.configurations import Job
from inferonnx.paper.forecast import Forecast, guess_s, in_words

PAGED, OTHER = Job("net", ("entire-disk-tee",), 1), Job("net", ("memory-plain",), 1)


def test_more_runs_a_larger_model_and_paging_take_longer():
    assert guess_s(OTHER, 10**8, 3) < guess_s(OTHER, 10**8, 4) < guess_s(OTHER, 10**9, 4)
    assert guess_s(PAGED, 10**8, 3) > guess_s(OTHER, 10**8, 3)


def test_what_is_left_is_what_it_took_before_else_a_guess_that_learns():
    known = {PAGED: None, OTHER: 7.0}
    forecast = Forecast(
        [PAGED, PAGED, OTHER], known_s=known.get, guessed_s={PAGED: 10.0, OTHER: 1.0}
    )
    assert forecast.left_s() == 27
    forecast.done(PAGED, 20.0)  # twice as long as was guessed
    assert forecast.left_s() == 20 + 7
    forecast.done(PAGED, 10.0)
    forecast.done(OTHER, 7.0)
    assert (forecast.n_left, forecast.left_s()) == (0, 0)


@pytest.mark.parametrize(("seconds", "words"), [(0, "1 s"), (89, "89 s"), (125, "2 min")])
def test_a_time_in_words(seconds, words):
    assert in_words(seconds) == words
