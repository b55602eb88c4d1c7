"""A small model through every configuration: real servers and files, and the limit."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from conftest import small_cnn
from inferonnx.app.owner.partitioning import partition
from inferonnx.epc import enforce, obstacle, unlimited
from inferonnx.paper.configurations import ALTERNATING, BY_ID, Door, Form, Job
from inferonnx.paper.material import make_material
from inferonnx.paper.measuring import MORE_IN_TURNS, measure
from inferonnx.sizes import MIB

LIMIT = 60 * MIB


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measuring")
    model = small_cnn(folder / "net.onnx", channels=64)
    (folder / "test_data_set_0").mkdir()
    image = np.random.default_rng(1).standard_normal((1, 3, 16, 16), np.float32)
    onnx.save_tensor(numpy_helper.from_array(image, "image"), folder / "test_data_set_0/input_0.pb")
    partition(str(model), str(folder / "partitions"), strategy="paper", limit_bytes=10**6)
    return folder


def made(home, told):
    return make_material(
        "net", home / "net.onnx", home / "partitions", home / "work", progress=told.append
    )


@pytest.fixture(scope="module")
def material(home):
    return made(home, [])


def test_material_is_made_once_and_again_when_the_partitions_change(material, home):
    told = []
    assert made(home, told).sealed == material.sealed
    assert told == []
    stamps = {form: material.stamp(form) for form in Form}
    assert len(set(stamps.values())) == 3
    partition(str(home / "net.onnx"), str(home / "partitions"), strategy="paper", limit_bytes=10**5)
    again = made(home, told)
    assert {form for form in Form if again.stamp(form) != stamps[form]} == {Form.PARTITIONS}
    assert any("sealing, partitions" in text for text in told)
    assert not any("entire" in text or "stream" in text for text in told)


def by_id(rows):
    return {row.configuration: row for row in rows}


def check(row, *, count, is_inside):
    one = BY_ID[row.configuration]
    assert row.error is None
    assert len(row.total_ms) == len(row.inference_ms) == len(row.major_faults) == count
    assert (row.limit_bytes == LIMIT) == (one.is_limited and is_inside)
    assert row.label == ("EPC limit enforced by cgroup" if row.limit_bytes else "no limit enforced")
    assert row.peak_bytes > 20 * MIB
    assert row.cold == one.is_cold
    # All weights are read on each inference, or none where they stay.
    assert bool(row.streamed_bytes) is not one.stays
    if one.door is Door.PROCESS:
        assert row.server_ms is None
        assert row.inference_ms == row.total_ms
    else:
        times = zip(row.total_ms, row.server_ms, row.inference_ms, strict=True)
        # Clocks of two processes: a reply is read before its last byte is logged as sent.
        assert all(inference <= server for _, server, inference in times)
    if row.partition_ms is not None:
        for steps, inference in zip(row.partition_ms, row.inference_ms, strict=True):
            assert 0 < sum(steps) <= inference + 0.01


@pytest.mark.parametrize("group", ALTERNATING, ids="+".join)
def test_every_configuration(group, material, tmp_path):
    rows = measure(
        Job("net", group, LIMIT), material, unlimited(), tmp_path, n_runs=2, progress=lambda _: None
    )
    assert [row.configuration for row in rows] == list(group)
    for row in rows:
        check(row, count=2 * (MORE_IN_TURNS if len(group) > 1 else 1), is_inside=False)


def test_partitions_are_told_one_by_one(material, home, tmp_path):
    (row,) = measure(
        Job("net", ("partitions-disk-tee",), LIMIT),
        material,
        unlimited(),
        tmp_path,
        n_runs=2,
        progress=lambda _: None,
    )
    n_files = len(list((home / "partitions").glob("*.onnx")))
    assert n_files > 1
    assert [len(steps) for steps in row.partition_ms] == [n_files] * 2


@pytest.mark.skipif(
    obstacle(allow_system_changes=True) is not None, reason="no memory limit can be enforced here"
)
def test_inside_the_limit(material, tmp_path):
    with enforce(LIMIT, allow_system_changes=True) as limit:
        for group in (("entire-disk-tee",), ("stream-tee", "stream-free")):
            rows = measure(
                Job("net", group, LIMIT), material, limit, tmp_path, n_runs=1, progress=print
            )
            for row in rows:
                check(row, count=5 if len(group) > 1 else 1, is_inside=True)


def test_a_server_that_dies_is_a_row_with_its_error_and_the_others_go_on(material, tmp_path):
    broken = material._replace(key=tmp_path / "missing.key")
    rows = by_id(
        measure(
            Job("net", ("stream-tee", "memory-plain"), LIMIT),
            broken,
            unlimited(),
            tmp_path,
            n_runs=1,
            progress=lambda _: None,
        )
    )
    assert "missing.key" in rows["stream-tee"].error
    assert rows["stream-tee"].total_ms == []
    assert rows["memory-plain"].error is None


def test_a_server_that_is_killed_between_two_runs_is_told(material, tmp_path, monkeypatch):
    from inferonnx.paper import asking

    asked = asking._Served.run
    n_asked = []

    def killed_at_the_third(self):
        n_asked.append(1)
        if len(n_asked) == 3:
            self._server.kill()
        return asked(self)

    monkeypatch.setattr(asking._Served, "run", killed_at_the_third)
    (row,) = measure(
        Job("net", ("entire-disk-plain",), LIMIT),
        material,
        unlimited(),
        tmp_path,
        n_runs=3,
        progress=lambda _: None,
    )
    assert "the server was killed" in row.error
