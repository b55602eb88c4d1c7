from inferonnx.paper.artifact import EIGHT
from inferonnx.paper.configurations import (
    ALTERNATING,
    BY_ID,
    DEFAULT_LIMIT_BYTES,
    TIGHT_LIMIT_BYTES,
    TIGHT_MODELS,
    Door,
    jobs,
)
from inferonnx.report.paper_form import FIGURES
from inferonnx.sizes import MIB


def test_each_configuration_is_measured_once_and_never_two_inside_the_limit():
    named = [name for group in ALTERNATING for name in group]
    assert sorted(named) == sorted(BY_ID)
    assert all(sum(BY_ID[name].is_limited for name in group) <= 1 for group in ALTERNATING)


def test_a_tee_is_tls_and_the_limit_and_nothing_in_the_clear_is_inside():
    for one in BY_ID.values():
        is_tee = one.id.endswith("-tee")
        assert one.is_limited == is_tee
        assert (one.door is Door.SEALED) == (is_tee or one.id == "stream-free")
        assert one.is_tls == (one.door is Door.SEALED or one.id.endswith("-tls"))


def test_every_bar_of_the_figures_is_measured():
    bars = {bar.configuration for bars in FIGURES.values() for bar in bars}
    assert bars <= set(BY_ID)


def test_the_second_limit_is_for_large_models_below_the_first_alone():
    found = jobs(EIGHT, DEFAULT_LIMIT_BYTES)
    tight = [job for job in found if job.limit_bytes == TIGHT_LIMIT_BYTES]
    assert {job.model for job in tight} == set(TIGHT_MODELS)
    assert {name for job in tight for name in job.configurations} == {
        "entire-memory-tee",
        "stream-tee",
        "stream-free",
    }
    assert len(found) - len(tight) == len(EIGHT) * len(ALTERNATING)
    assert not [j for j in jobs(EIGHT, 64 * MIB) if j.limit_bytes != 64 * MIB]
