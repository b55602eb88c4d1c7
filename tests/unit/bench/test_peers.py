"""Peers and the sealed stream on one model: real engines, each in a process of its own."""

import json
import subprocess

import numpy as np
import onnx
import pytest

from chains import extracted
from inferonnx.bench import peers
from inferonnx.bench.peers import (
    Files,
    PeerRow,
    Subject,
    as_json,
    bench_peers,
    kept_rows,
    ratios,
)
from machine import package

MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def tract():
    return package("tract")


@pytest.fixture(scope="module")
def subject(cnn, sealed_cnn, tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers")
    rng = np.random.default_rng(0)
    samples = [str(folder / f"{i}.npz") for i in range(2)]
    for path in samples:
        np.savez(path, image=rng.standard_normal((1, 3, 16, 16)).astype(np.float32))
    halves = [str(folder / "first.onnx"), str(folder / "second.onnx")]
    extracted(cnn, halves[0], "image", "r1")
    extracted(cnn, halves[1], "r1", "scores")
    return Subject(
        name="cnn",
        onnx=cnn,
        sealed=sealed_cnn,
        samples=tuple(samples),
        entire=Files(((str(cnn), ("image",), ("scores",)),), ("scores",)),
        partitions=Files(
            ((halves[0], ("image",), ("r1",)), (halves[1], ("r1",), ("scores",))), ("scores",)
        ),
    )


def measured(subject, key_path, work, **changes):
    return list(
        bench_peers(
            subject,
            key=key_path,
            memory=85 * MIB,
            runs=2,
            work=work,
            progress=lambda _: None,
            **changes,
        )
    )


def test_every_engine_form_and_storage_gets_a_row(subject, key_path, tmp_path):
    rows = measured(subject, key_path, tmp_path)
    assert [(row.engine, row.form, row.storage, row.n_files) for row in rows] == [
        ("inferonnx", "stream", "disk-encrypted", 1),
        ("onnxruntime", "entire", "memory", 1),
        ("tract", "entire", "memory", 1),
        ("tract", "entire", "disk", 1),
        ("tract", "entire", "disk-encrypted", 1),
        ("tract", "partitions", "memory", 2),
        ("tract", "partitions", "disk", 2),
        ("tract", "partitions", "disk-encrypted", 2),
    ]
    for row in rows:
        assert row.error is None
        assert len(row.latency_ms) == len(row.major_faults) == 2
        assert row.peak_bytes > 10 * MIB
    assert rows[0].peak_bytes <= 85 * MIB
    assert 10 * MIB < rows[2].floor_bytes < rows[2].peak_bytes
    assert ratios(rows)[0] == 1.0
    assert not list(tmp_path.iterdir())  # no encrypted file, no key is left
    facts = {"machine": {"cpu": "x"}, "label": "no limit enforced", "limit_bytes": None}
    text = as_json(facts, rows)
    report = json.loads(text)
    assert kept_rows(text, facts, ["other"]) == rows
    assert kept_rows(text, facts, ["cnn"]) == []
    assert kept_rows(text, {**facts, "limit_bytes": 1}, ["other"]) == []
    assert report["schema"] == "inferonnx.peers/1"
    assert report["label"] == "no limit enforced"
    assert report["rows"][4]["storage"] == "disk-encrypted"
    assert report["rows"][4]["latency_ms"] == list(rows[4].latency_ms)


def test_a_wrong_answer_is_an_error_and_no_figure(subject, key_path, tmp_path):
    """The second partition of another model of the same shapes: only its answer shows it."""
    path, inputs, outputs = subject.partitions.links[1]
    model = onnx.load(path)
    dense = next(tensor for tensor in model.graph.initializer if tensor.name == "dense")
    values = -onnx.numpy_helper.to_array(dense)
    dense.CopyFrom(onnx.numpy_helper.from_array(values, "dense"))
    onnx.save(model, tmp_path / "other.onnx")
    links = (subject.partitions.links[0], (str(tmp_path / "other.onnx"), inputs, outputs))
    wrong = subject._replace(partitions=Files(links, ("scores",)))
    rows = measured(wrong, key_path, tmp_path)
    bad = [row for row in rows if row.error]
    assert [row.form for row in bad] == ["partitions"] * 3
    assert all("its category is" in row.error and not row.latency_ms for row in bad)


def test_what_one_engine_meets_is_said_in_its_row_and_the_others_go_on(subject, key_path, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    broken = Files(((str(tmp_path / "broken.onnx"), ("image",), ("scores",)),), ("scores",))
    rows = measured(
        subject._replace(entire=broken, partitions="there are none"), key_path, tmp_path
    )
    assert [row.error is None for row in rows] == [True, True, *[False] * 6]
    assert all("can't run" in row.error for row in rows[2:5])
    assert [row.error for row in rows[5:]] == ["there are none"] * 3
    assert ratios(rows)[2:] == [None] * 6


def test_a_full_disk_takes_the_encrypted_row_alone(subject, key_path, tmp_path, monkeypatch):
    from inferonnx.errors import UnavailableError

    def full(*_):
        raise UnavailableError("no space left while writing")

    monkeypatch.setattr(peers, "encrypt_file", full)
    work = tmp_path / "work"
    work.mkdir()
    rows = measured(subject, key_path, work)
    assert [row.storage for row in rows if row.error] == ["disk-encrypted"] * 2


def test_there_is_no_ratio_without_ours():
    theirs = PeerRow(model="a", engine="tract", form="entire", storage="memory", latency_ms=(2.0,))
    ours = PeerRow(
        model="b", engine="inferonnx", form="stream", storage="disk-encrypted", latency_ms=(1.0,)
    )
    assert ratios([theirs, ours]) == [None, 1.0]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": 1}', '{"schema": "inferonnx.peers/1"}'])
def test_what_is_no_report_keeps_nothing(text):
    assert kept_rows(text, {}, []) == []


def test_an_engine_that_is_killed_is_tried_again(subject, key_path, tmp_path):
    """As the kernel kills it under a limit; what dies each time says so in its row."""
    started = []

    def spawn(command, **options):
        process = subprocess.Popen(command, **options)
        started.append(json.loads(command[-1])["engine"])
        if started[-1] == "plain" or started.count("stream") == len(started) == 1:
            process.kill()
        return process

    rows = measured(subject, key_path, tmp_path, spawn=spawn)
    assert started[:4] == ["stream", "stream", "plain", "plain"]
    assert [row.error is None for row in rows[:3]] == [True, False, True]
    assert "was killed" in rows[1].error
