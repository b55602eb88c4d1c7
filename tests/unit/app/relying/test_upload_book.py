import os

from inferonnx.app.relying.upload_book import UploadFolder, default_folder


def test_what_is_kept_is_found_until_it_is_forgotten(tmp_path):
    book = UploadFolder(str(tmp_path / "a" / "b"))
    assert book.find("x") is None
    book.keep("x", "upload 4")
    book.keep("y", "other 1")
    assert UploadFolder(str(tmp_path / "a" / "b")).find("x") == "upload 4"
    book.keep("x", "new 5")
    assert book.find("x") == "new 5"
    book.forget("x")
    book.forget("x")
    assert book.find("x") is None
    assert book.find("y") == "other 1"


def test_nobody_else_reads_it(tmp_path):
    folder = tmp_path / "uploads"
    UploadFolder(str(folder)).keep("x", "upload 4")
    assert folder.stat().st_mode & 0o777 == 0o700
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_place_that_can_not_be_written_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    book = UploadFolder(str(tmp_path / "file"))
    book.keep("x", "upload 4")
    assert book.find("x") is None
    book.forget("x")


def test_it_is_where_this_users_programs_keep_such_things(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_folder() == os.path.join(tmp_path, "inferonnx", "uploads")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == os.path.join(tmp_path, ".local/state/inferonnx/uploads")
