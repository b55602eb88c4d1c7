"""Nameless files where the system has them, a private folder where it has not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from inferonnx.errors import UnavailableError
from inferonnx.model import scratch
from inferonnx.model.scratch import ScratchPair, place_for


def write(pair: ScratchPair) -> None:
    Path(pair.graph_path).write_bytes(b"graph")
    (Path(pair.graph_path).parent / pair.data_name).write_bytes(b"data" * 5000)


def test_files_have_no_name_and_mappings_outlive_them():
    with ScratchPair(100) as pair:
        write(pair)
        assert pair.graph_path.startswith("/proc/self/fd/")
        assert os.stat(pair.graph_path).st_nlink == 0
        assert pair.graph() == b"graph"
        mapped = pair.map_data()
    assert mapped[:8] == b"datadata"


def test_without_data_there_is_nothing_to_map():
    with ScratchPair(100) as pair:
        assert pair.map_data() == b""


@pytest.mark.parametrize("missing", ["the flag", "the file system's support", "/proc"])
def test_a_private_folder_where_files_need_names(monkeypatch, missing):
    if missing == "the flag":
        monkeypatch.delattr(scratch.os, "O_TMPFILE")
    elif missing == "/proc":
        monkeypatch.setattr(scratch, "_DESCRIPTORS", "/proc/self/none")
    else:

        def refuse(folder):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(scratch, "_open_nameless", refuse)
    with ScratchPair(100) as pair:
        folder = Path(pair.graph_path).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        write(pair)
        assert pair.graph() == b"graph"
        mapped = pair.map_data()
    assert not folder.exists()
    assert mapped[:4] == b"data"


def test_memory_is_preferred_while_it_has_twice_the_room(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "_available_memory_bytes", lambda: 1000)
    assert place_for(499) == "/dev/shm"
    assert place_for(500) == str(tmp_path)
    monkeypatch.setattr(scratch, "_MEMORY_FOLDER", str(tmp_path / "none"))
    assert place_for(1) == str(tmp_path)


def test_too_little_room_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(UnavailableError, match="are needed for a while") as caught:
        place_for(2**60)
    assert "TMPDIR" in caught.value.hint


def test_a_system_without_meminfo_counts_as_full(monkeypatch):
    monkeypatch.setattr("builtins.open", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    assert scratch._available_memory_bytes() == 0
