"""New folders go when what they were made for fails; everything else stays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from inferonnx.errors import UnavailableError, UsageError
from inferonnx.zoo.folders import made_folder

if TYPE_CHECKING:
    from pathlib import Path


def test_folders_stay_when_all_went_well(tmp_path: Path) -> None:
    with made_folder(str(tmp_path / "a" / "b")) as path:
        assert os.path.isdir(path)
    assert (tmp_path / "a" / "b").is_dir()


def test_new_folders_go_and_old_ones_stay(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(KeyboardInterrupt), made_folder(str(tmp_path / "a" / "b" / "c")):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_folder_that_was_used_stays(tmp_path: Path) -> None:
    def use_and_fail() -> None:
        with made_folder(str(tmp_path / "a")) as path:
            (tmp_path / "a" / "file").write_bytes(b"")
            raise ZeroDivisionError(path)

    with pytest.raises(ZeroDivisionError):
        use_and_fail()
    assert (tmp_path / "a" / "file").exists()


def test_file_on_the_way_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(UsageError, match="is not a folder"), made_folder(str(tmp_path / "a" / "b")):
        pass


def test_refusal_is_unavailable_and_takes_back_what_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def refuse_b(path: str) -> None:
        if path.endswith("b"):
            raise PermissionError(13, "no", path)
        mkdir(path)

    monkeypatch.setattr(os, "mkdir", refuse_b)
    with (
        pytest.raises(UnavailableError, match="Permission denied"),
        made_folder(str(tmp_path / "a" / "b")),
    ):
        pass
    assert not (tmp_path / "a").exists()
