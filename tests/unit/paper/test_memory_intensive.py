"""paper.memory_intensive: real chains timed in processes, files kept, stale ones refused."""

from __future__ import annotations

import hashlib

import pytest

from inferonnx.epc import unlimited
from inferonnx.errors import ExitCode, PlanError, UsageError
from inferonnx.paper import memory_intensive
from inferonnx.paper.memory_intensive import check_stored, determine
from inferonnx.paper.overheads import (
    OperatorTime,
    OperatorTimes,
    encode_operator_times,
    parse_operator_overheads,
    parse_operator_times,
)
from inferonnx.zoo import build

LIMIT = 85 << 20
NAME = "squeezenet1.0-7"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    build(NAME, str(folder))
    return folder


def determined(zoo, folder):
    (found,) = determine(
        [NAME],
        limit=unlimited(),
        limit_bytes=LIMIT,
        runs=1,
        zoo=str(zoo),
        overheads=str(folder / "ops"),
    )
    return found


def stored(folder):
    return folder / "ops" / f"{NAME}_operator_times.txt"


def test_every_operator_is_timed_outside_and_inside(zoo, tmp_path):
    found = determined(zoo, tmp_path)
    assert found.is_new
    times = parse_operator_times(stored(tmp_path).read_text())
    assert len(times.operators) == 66
    assert {one.label for one in times.operators} == {"no limit enforced"}
    assert times.limit_bytes is None
    assert all(one.outside_ms > 0 and one.inside_ms > 0 for one in times.operators)
    assert [one.type for one in times.operators[:3]] == ["Conv", "Relu", "MaxPool"]
    content = (zoo / NAME / f"{NAME}.onnx").read_bytes()
    assert times.model_sha256 == hashlib.sha256(content).hexdigest()
    listed = parse_operator_overheads((tmp_path / "ops" / "operator_overhead.txt").read_text())
    assert list(listed) == ([NAME] if found.heaviest else [])


def enforced(zoo, *, n_operators=66, sha256=None, slow=()):
    content = (zoo / NAME / f"{NAME}.onnx").read_bytes()
    return OperatorTimes(
        model_sha256=sha256 or hashlib.sha256(content).hexdigest(),
        limit_bytes=LIMIT,
        operators=tuple(
            OperatorTime(
                index=i,
                name=f"#{i}",
                type="Conv",
                outside_ms=1.0,
                inside_ms=20.0 if i in slow else 1.0,
                label="EPC limit enforced by cgroup",
            )
            for i in range(n_operators)
        ),
    )


def store(folder, times):
    stored(folder).parent.mkdir()
    stored(folder).write_text(encode_operator_times(times))


def test_what_is_measured_within_the_limit_stays_and_is_listed(zoo, tmp_path, monkeypatch):
    store(tmp_path, enforced(zoo, slow=(3, 7)))
    (tmp_path / "ops" / "operator_overhead.txt").write_text(
        "Heaviest operators for other-1:\nx: 13.00x\n\n"
        f"Heaviest operators for {NAME}:\n#1: 99.00x\n"
    )
    monkeypatch.setattr(memory_intensive, "_timed", None)  # measuring would be a bug
    found = determined(zoo, tmp_path)
    assert not found.is_new
    assert dict(found.heaviest) == {"#3": 19.0, "#7": 19.0}
    assert (tmp_path / "ops" / "operator_overhead.txt").read_text() == (
        "Heaviest operators for other-1:\nx: 13.00x\n\n"
        f"Heaviest operators for {NAME}:\n#3: 19.00x\n#7: 19.00x\n\n"
    )


def test_a_model_without_heavy_operators_does_not_appear(zoo, tmp_path):
    store(tmp_path, enforced(zoo))
    assert not determined(zoo, tmp_path).heaviest
    assert (tmp_path / "ops" / "operator_overhead.txt").read_text() == ""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"sha256": "ab" * 32}, "is of another model"), ({"n_operators": 65}, "lists 65 operators")],
)
def test_stale_times_are_refused_and_stay(zoo, tmp_path, changes, sentence):
    store(tmp_path, enforced(zoo, **changes))
    before = stored(tmp_path).read_text()
    with pytest.raises(UsageError, match=sentence):
        determined(zoo, tmp_path)
    assert stored(tmp_path).read_text() == before
    assert not (tmp_path / "ops" / "operator_overhead.txt").exists()


def test_times_are_judged_after_the_model_was_built(tmp_path):
    """A stale file must not be lost for the model not being there when it was looked at."""
    store(tmp_path, enforced_anything())
    assert check_stored([NAME], zoo=str(tmp_path / "none"), overheads=str(tmp_path / "ops")) == {}
    with pytest.raises(UsageError, match="is of another model"):
        determined(tmp_path / "none", tmp_path)


def enforced_anything():
    return OperatorTimes(model_sha256="ab" * 32, limit_bytes=LIMIT, operators=())


def test_a_list_that_someone_broke_is_refused_before_anything_is_measured(zoo, tmp_path):
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "operator_overhead.txt").write_text("my notes\n")
    with pytest.raises(PlanError, match="line 1") as caught:
        determined(zoo, tmp_path)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert (tmp_path / "ops" / "operator_overhead.txt").read_text() == "my notes\n"
