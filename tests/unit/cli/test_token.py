import tomllib

import pytest

from inferonnx.cli import main
from inferonnx.control import NEVER_S, Role, check_token, parse_config
from inferonnx.errors import ExitCode


def entry_of(lines):
    (entry,) = parse_config(lines)["tokens"]
    return entry


def test_a_token_goes_to_a_file_and_its_hash_to_stdout(tmp_path, capsys):
    path = tmp_path / "client.token"
    code = main(["token", "new", "--role", "infer", "--role", "metrics", "-o", str(path)])
    assert code == ExitCode.DONE
    out, err = capsys.readouterr()
    token = path.read_text()
    assert token.endswith("\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert token.strip() not in out + err
    entry = entry_of(out)
    assert check_token(token.strip(), [entry], now_s=0) == entry
    assert entry.roles == {Role.INFER, Role.METRICS}


def test_without_a_file_stdout_holds_the_token_alone(capsys):
    assert main(["token", "new", "--role", "manage", "--expires", "never"]) == ExitCode.DONE
    out, err = capsys.readouterr()
    (token,) = out.splitlines()
    assert token not in err
    entry = entry_of(err.split("\n\n")[1])
    assert check_token(token, [entry], now_s=1 << 60) == entry
    assert (entry.roles, entry.expires_s) == ({Role.MANAGE}, NEVER_S)


def test_two_tokens_are_two(capsys):
    for _ in range(2):
        assert main(["token", "new", "--role", "infer"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first[:16] != second[:16]
    assert first[17:] != second[17:]


def test_lines_of_several_tokens_make_one_configuration(tmp_path, capsys):
    for name in "ab":
        path = str(tmp_path / name)
        assert main(["token", "new", "--role", "infer", "--expires", "1d", "-o", path]) == 0
    assert len(tomllib.loads(capsys.readouterr().out)["token"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--role", "admin"],
        ["--role", ""],
        ["--role", "infer", "--expires", "yesterday"],
        ["--role", "infer", "--expires", "2020-01-01"],
        ["--role", "infer", "--expires", "0d"],
        ["--role", "infer", "-o", "/nowhere/at/all"],
        ["--role", "infer", "-o", "/"],
    ],
    ids=range(8),
)
def test_what_makes_no_sense_makes_no_token(arguments, capsys):
    assert main(["token", "new", *arguments]) == ExitCode.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("inferonnx: error: ")


def test_a_file_is_never_replaced(tmp_path, capsys):
    path = tmp_path / "token"
    path.write_text("old")
    assert main(["token", "new", "--role", "infer", "-o", str(path)]) == ExitCode.BAD_INPUT
    out, err = capsys.readouterr()
    assert path.read_text() == "old"
    assert out == ""
    assert "exists already" in err


def test_a_token_file_is_private_under_any_umask(command, tmp_path):
    path = tmp_path / "token"
    done = command("token", "new", "--role", "infer", "-o", path, umask=0)
    assert done.returncode == 0, done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["token"]
