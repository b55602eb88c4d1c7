import io
import json
import os
import pty
import select
import sys

import pytest

from inferonnx.app.host.keys import Key
from inferonnx.cli import main
from inferonnx.errors import ExitCode


def test_keygen_rewrap_and_check(sealed_cnn, key_path, tmp_path, capsys):
    copy = tmp_path / "copy.sealed"
    copy.write_bytes(sealed_cnn.read_bytes())
    copy.chmod(0o600)
    new = tmp_path / "new.key"
    assert main(["keygen", "-o", str(new), "--from", str(key_path)]) == 0
    assert new.stat().st_mode & 0o777 == 0o600
    assert main(["rewrap", str(copy), "--key", str(key_path), "--new-key", str(new)]) == 0
    assert copy.stat().st_mode & 0o777 == 0o600
    assert main(["check", str(copy), "--key", str(key_path)]) == 3
    capsys.readouterr()
    assert main(["check", str(copy), "--key", str(new), "--run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert main(["inspect", str(sealed_cnn), "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert report["model_id"] == before["model_id"]
    assert report["check_vector"] == "agrees"
    assert report["segments_opened"] >= 1
    assert copy.read_bytes()[400:] == sealed_cnn.read_bytes()[400:]


@pytest.fixture
def protected(tmp_path):
    """A key file with the passphrase "old word"."""
    path = tmp_path / "old.key"
    Key.generate().save(path, passphrase="old word")
    return path


@pytest.mark.parametrize("text", ["old word", "old word\n", "old word\r\n", "old word\nmore\n"])
def test_a_passphrase_is_the_first_line_of_its_file(text, protected, tmp_path, capsys):
    (tmp_path / "old").write_text(text, newline="")
    new = tmp_path / "new.key"
    code = main(
        [
            *("keygen", "-o", str(new), "--from", str(protected)),
            *("--from-passphrase-file", str(tmp_path / "old")),
        ]
    )
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert "has a passphrase, and" in shown.err  # who renews a protected key may expect another
    assert Key.load(new).public_key == Key.load(protected, passphrase="old word").public_key


def test_two_keys_have_two_passphrases(protected, tmp_path, sealed_cnn, capsys):
    (tmp_path / "old").write_text("old word")
    (tmp_path / "new").write_text("new word")
    new = tmp_path / "new.key"
    arguments = ["--from-passphrase-file", str(tmp_path / "old")]
    arguments += ["--passphrase-file", str(tmp_path / "new")]
    assert main(["keygen", "-o", str(new), "--from", str(protected), *arguments]) == 0
    Key.load(new, passphrase="new word")
    copy = tmp_path / "m.sealed"
    copy.write_bytes(sealed_cnn.read_bytes())
    arguments = ["--key", str(protected), "--passphrase-file", str(tmp_path / "old")]
    arguments += ["--new-key", str(new), "--new-passphrase-file", str(tmp_path / "new")]
    # Both keys open; it is another owner's model.
    assert main(["rewrap", str(copy), *arguments]) == ExitCode.NOT_AUTHENTIC
    assert copy.read_bytes() == sealed_cnn.read_bytes()


def test_a_passphrase_that_is_no_text_is_told(protected, tmp_path, capsys):
    (tmp_path / "word").write_bytes(b"\xff\xfe")
    code = main(
        ["inspect", "m", "--key", str(protected), "--passphrase-file", str(tmp_path / "word")]
    )
    assert code == ExitCode.BAD_INPUT
    assert "is not text" in capsys.readouterr().err


def test_without_a_terminal_the_key_is_named(protected, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert main(["inspect", "m", "--key", str(protected)]) == ExitCode.BAD_INPUT
    first, second = capsys.readouterr().err.splitlines()
    assert "no terminal" in first
    assert str(protected) in first
    assert second.startswith("hint: ")


def on_terminal(command, answers):
    """Run a command in a child on a terminal of its own; return what is shown and its code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-P", "-m", "inferonnx", *map(str, command)])
    shown = b""
    answers = list(answers)
    while True:
        try:
            if not select.select([terminal], [], [], 60)[0]:
                break
            part = os.read(terminal, 1024)
        except OSError:  # the child has closed it
            break
        if not part:
            break
        shown += part
        if part.rstrip().endswith(b":") and answers:
            os.write(terminal, answers.pop(0))
    os.close(terminal)
    return shown.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of forkpty:DeprecationWarning")
@pytest.mark.parametrize(
    ("answers", "code", "words"),
    [
        ([b"word\n", b"word\n"], 0, "public key"),
        ([b"word\n", b"other\n"], 2, "the two passphrases differ"),
        ([b"\x04"], 2, "no passphrase was given"),
        ([b"\n", b"\n"], 2, "the passphrase is empty"),
    ],
    ids=["same", "differ", "end", "empty"],
)
def test_a_new_passphrase_is_asked_for_twice(answers, code, words, tmp_path):
    path = tmp_path / "new.key"
    shown, returned = on_terminal(["keygen", "-o", path, "--passphrase"], answers)
    assert returned == code, shown
    assert f"Passphrase of {path}" in shown
    assert words in shown
    assert path.exists() == (code == 0)


def test_a_key_is_never_overwritten(key_path, capsys):
    before = key_path.read_bytes()
    assert main(["keygen", "-o", str(key_path), "--from", "none"]) == ExitCode.BAD_INPUT
    assert "exists already" in capsys.readouterr().err
    assert key_path.read_bytes() == before
