import errno
import subprocess
import sys

import pytest

from inferonnx import errors
from inferonnx.cli import main
from inferonnx.cli.verbs import VERBS
from inferonnx.errors import ExitCode, InferonnxError

MAIN = sys.modules["inferonnx.cli.main"]  # the package's `main` is the function


def lines(text):
    return text.strip().splitlines()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: inferonnx {verb}" in text
    assert "examples:" in text
    assert "--debug" in text


def test_serve_says_what_its_flags_take_and_what_counts_without_them(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    flowing = " ".join(capsys.readouterr().out.split())
    for words in (
        "--models DIR folder",
        "--listen HOST:PORT where REST is served; port 0: the system chooses (default: 127.0.0.1",
        "--memory SIZE peak resident memory of the whole process (default: 1024.0 MiB)",
        "--tls-min {1.2,1.3} least version of TLS (default: 1.3)",
        "--tls-san NAME [NAME ...] names in the certificate that the server makes (default: loc",
        "--no-resident read and decrypt all weights in every pass",
        "--owner PUBKEY public key of the one owner",
    ):
        assert words in flowing


def test_the_overview_lists_verbs_and_exit_codes(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    flowing = " ".join(text.split())
    assert all(f"{name} {verb.overview}" in flowing for name, verb in VERBS.items())
    assert all(f"{code:>3}  {errors.EXIT_MEANINGS[code]}" in text for code in ExitCode)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required: VERB"),
        (["dance"], "invalid choice: 'dance'"),
        (["run"], "required: MODEL.sealed, --key"),
        (["run", "m", "--key", "k", "--input", "i", "--dance"], "unrecognized arguments: --dance"),
        (["zoo"], "required: COMMAND"),
        (["seal", "m", "-o", "o", "--key", "k", "--suite", "rot13"], "invalid choice: 'rot13'"),
        (["seal", "m", "-o", "o", "--key", "k", "--target", "mars"], "invalid choice: 'mars'"),
        (["plan", "m", "--strategy", "luck"], "invalid choice: 'luck'"),
        (["seal", "m", "-o", "o", "--key", "k", "--release", "-1"], "--release: '-1' is not"),
        (["run", "m", "--key", "k", "--input", "i", "--threads", "-3"], "--threads: '-3' is not"),
        (["run", "m", "--key", "k", "--input", "i", "--threads", "0"], "--threads: '0' is not"),
        (["run", "m", "--key", "k", "--input", "i", "--repeat", "0"], "--repeat: '0' is not"),
        (["run", "m", "--key", "k", "--input", "i", "--repeat", "²"], "--repeat: '²' is not"),
        (["verify", "m", "s", "--key", "k", "--samples", "0"], "--samples: '0' is not"),
        (["bench", "stream", "--rounds", "0"], "--rounds: '0' is not"),
        (["bench", "stream", "--calls", "x"], "--calls: 'x' is not"),
        (["bench", "stream", "--suite", "rot13"], "invalid choice: 'rot13'"),
        (["plan", "m", "--dim", "batch=²"], "is not NAME=N"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_gets_one_sentence_and_a_hint(arguments, words, capsys):
    assert main(arguments) == ExitCode.BAD_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = lines(captured.err)
    assert first.startswith("inferonnx: error: ")
    assert words in first
    assert second.startswith("hint: ")


@pytest.mark.parametrize("size", ["85M", "85Mb", "-1MiB", "many", "1.0000001KiB"])
def test_what_is_no_size_is_refused(size, capsys):
    assert main(["plan", "m.onnx", f"--memory={size}"]) == ExitCode.BAD_INPUT
    assert f"--memory: '{size}' is not a" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--debug", "inspect"], ["inspect", "--debug"]], ids=str)
def test_debug_adds_a_traceback_and_changes_no_code(arguments, tmp_path, capsys):
    assert main([*arguments, str(tmp_path / "none")]) == ExitCode.BAD_INPUT
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert "inferonnx: error: " in text
    assert main(["inspect", str(tmp_path / "none")]) == ExitCode.BAD_INPUT
    assert "Traceback" not in capsys.readouterr().err


def test_behind_two_dashes_debug_is_a_name(capsys):
    assert main(["inspect", "--", "--debug"]) == ExitCode.BAD_INPUT
    text = capsys.readouterr().err
    assert "'--debug': No such file" in text
    assert "Traceback" not in text


class Unknown(InferonnxError):
    """An error of a class that the command line does not know."""

    code = "unknown"
    exit_code = ExitCode.REFUSED


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "interrupted"),
        (MemoryError(), ExitCode.UNAVAILABLE, "no memory left"),
        (OSError(errno.ENOMEM, "x"), ExitCode.UNAVAILABLE, "no memory left"),
        (OSError(errno.EIO, "secret"), ExitCode.BUG, "a bug of ours (OSError)"),
        (BrokenPipeError(errno.EPIPE, "a worker's"), ExitCode.BUG, "a bug of ours"),
        (ValueError("secret"), ExitCode.BUG, "a bug of ours (ValueError)"),
        (Unknown("refused", where="there"), ExitCode.REFUSED, "refused (there)"),
    ],
    ids=repr,
)
def test_what_goes_wrong_becomes_a_line_and_a_code(error, code, words, monkeypatch, capsys):
    def fail(_arguments):
        raise error

    monkeypatch.setattr(MAIN, "_run", fail)
    assert main([]) == code
    text = capsys.readouterr().err
    assert text.startswith("inferonnx: ")
    assert words in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "no.sealed", "--input", "x.npz"], 2, "No such file"),
        (["seal", "no.onnx", "-o", "out.sealed"], 2, "no.onnx"),
        (["inspect", "README.md"], 3, "not a sealed file"),
        (["check", "README.md"], 3, "not a sealed file"),
    ],
)
def test_bad_input_gets_one_sentence(arguments, code, words, key_path, tmp_path, command):
    (tmp_path / "README.md").write_text("no model")
    arguments = [str(tmp_path / a) if "." in a and a[0] != "-" else a for a in arguments]
    if arguments[0] in ("run", "seal"):
        arguments += ["--key", str(key_path)]
    done = command(*arguments)
    assert done.returncode == code, done.stderr
    first, *rest = lines(done.stderr)
    assert first.startswith("inferonnx: error: ")
    assert words in first
    assert len(rest) <= 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md"]


def test_control_characters_of_strangers_are_escaped(tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "\x1b[31mred")]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_an_interrupt_that_a_finaliser_swallows_is_not_lost():
    """KeyboardInterrupt inside `__del__` is printed and forgotten by Python."""
    code = (
        "import os, signal, sys\n"
        "from inferonnx.cli import interrupts\n"
        "interrupts.install()\n"
        "class Thing:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        sum(range(1000))\n"
        "Thing()\n"
        "try:\n"
        "    interrupts.check()\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert done.stderr == ""
