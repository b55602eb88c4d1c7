"""Files appear whole or not at all, and what already stands there is recognised."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import resource
from pathlib import Path

import onnx
import pytest

from inferonnx import zoo
from inferonnx.errors import UnavailableError, UsageError
from inferonnx.zoo import writing
from inferonnx.zoo.catalogue import Published
from inferonnx.zoo.graphs import METADATA_KEY

_NAME = "squeezenet1.0-7"


def _model_path(folder: Path) -> Path:
    return folder / _NAME / f"{_NAME}.onnx"


def _tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _publish(monkeypatch: pytest.MonkeyPatch, content: bytes, sha256: str) -> None:
    """Have the table say that `content` is what somebody published."""
    real = Published(source="a friend", n_bytes=len(content), sha256=sha256)
    model = dataclasses.replace(zoo.MODELS[_NAME], published=(real,))
    monkeypatch.setattr(writing, "MODELS", {_NAME: model})


def test_build_writes_model_and_sample(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    built = zoo.build(
        _NAME, str(tmp_path / "new" / "models"), progress=lambda *news: told.append(news)
    )
    path = _model_path(tmp_path / "new" / "models")
    assert (built.path, built.outcome) == (str(path), zoo.Outcome.BUILT)
    assert path.stat().st_size == built.n_bytes == told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert _tree(path.parent) == [
        f"{_NAME}.onnx",
        "test_data_set_0",
        "test_data_set_0/input_0.pb",
    ]
    onnx.checker.check_model(str(path))


def test_file_says_that_its_weights_are_synthetic(tmp_path: Path) -> None:
    model = onnx.load(zoo.build(_NAME, str(tmp_path), seed=5).path)
    (entry,) = model.metadata_props
    assert entry.key == METADATA_KEY
    assert entry.value.startswith("synthetic")
    assert "not trained" in entry.value
    assert "seed 5," in entry.value


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two, other = (
        Path(zoo.build(_NAME, str(tmp_path / folder), seed=seed).path).read_bytes()
        for folder, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one == two
    assert one != other


def test_own_file_is_kept_and_a_lost_sample_replaced(tmp_path: Path) -> None:
    path = Path(zoo.build(_NAME, str(tmp_path)).path)
    before = path.stat()
    sample = path.parent / "test_data_set_0" / "input_0.pb"
    content = sample.read_bytes()
    sample.unlink()
    again = zoo.build(_NAME, str(tmp_path))
    assert again.outcome is zoo.Outcome.KEPT
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert sample.read_bytes() == content


def test_existing_sample_is_left_alone(tmp_path: Path) -> None:
    sample = tmp_path / _NAME / "test_data_set_0" / "input_0.pb"
    sample.parent.mkdir(parents=True)
    sample.write_bytes(b"the real one")
    zoo.build(_NAME, str(tmp_path))
    assert sample.read_bytes() == b"the real one"


@pytest.mark.parametrize("shown", ["whole", "ends"])
def test_published_file_is_recognised_and_kept(
    shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"trained for weeks"
    digest = hashlib.sha256(content).hexdigest()
    _publish(monkeypatch, content, digest if shown == "whole" else f"{digest[:8]}…{digest[-6:]}")
    path = _model_path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    built = zoo.build(_NAME, str(tmp_path), force=True)
    assert (built.outcome, built.source) == (zoo.Outcome.PUBLISHED, "a friend")
    assert path.read_bytes() == content
    assert (path.parent / "test_data_set_0" / "input_0.pb").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"somebody's own", b"trained for weeKs"],
    ids=["empty", "other", "size of the published"],
)
def test_unknown_file_is_not_overwritten(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = b"trained for weeks"
    _publish(monkeypatch, published, hashlib.sha256(published).hexdigest())
    path = _model_path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(UsageError, match="neither published nor ours") as caught:
        zoo.build(_NAME, str(tmp_path))
    assert "--force" in caught.value.hint
    assert path.read_bytes() == content
    assert _tree(path.parent) == [path.name]
    assert zoo.build(_NAME, str(tmp_path), force=True).outcome is zoo.Outcome.BUILT
    assert path.stat().st_size > 1_000_000


def test_own_file_of_another_seed_is_unknown(tmp_path: Path) -> None:
    zoo.build(_NAME, str(tmp_path), seed=1)
    with pytest.raises(UsageError, match="seed 2"):
        zoo.build(_NAME, str(tmp_path), seed=2)


@pytest.mark.parametrize("offset", [10, -10], ids=["graph", "metadata"])
def test_damaged_file_of_ours_is_unknown(offset: int, tmp_path: Path) -> None:
    path = Path(zoo.build(_NAME, str(tmp_path)).path)
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError):
        zoo.build(_NAME, str(tmp_path))


def test_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        zoo.build(_NAME, str(tmp_path / "models"), progress=interrupt)
    assert _tree(tmp_path) == []


def test_interrupt_leaves_the_old_file(tmp_path: Path) -> None:
    path = _model_path(tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"old")

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        zoo.build(_NAME, str(tmp_path), force=True, progress=interrupt)
    assert path.read_bytes() == b"old"
    assert _tree(tmp_path) == [_NAME, f"{_NAME}/{_NAME}.onnx"]


@pytest.mark.parametrize("can_reserve", [True, False])
def test_full_disk_leaves_nothing_behind(
    can_reserve: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on the size of files stands for the disk: the kernel refuses the same way."""
    if not can_reserve:

        def refuse(*_: object) -> None:
            raise OSError(errno.EOPNOTSUPP, "no")

        monkeypatch.setattr(os, "posix_fallocate", refuse)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))
    try:
        with pytest.raises(UnavailableError, match="no space left"):
            zoo.build(_NAME, str(tmp_path / "models"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert _tree(tmp_path) == []


def test_folder_that_is_a_file_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "models").write_bytes(b"")
    with pytest.raises(UsageError, match="is not a folder"):
        zoo.build(_NAME, str(tmp_path / "models"))
    assert _tree(tmp_path) == ["models"]


def test_folder_that_refuses_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, *_: object) -> None:
        raise PermissionError(errno.EACCES, "no", path)

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(UnavailableError, match="Permission denied"):
        zoo.build(_NAME, str(tmp_path / "models"))
