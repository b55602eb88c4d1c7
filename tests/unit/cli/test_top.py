"""`inferonnx top` on a pseudo-terminal, and where there is none."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import inferonnx
from inferonnx.cli import main
from inferonnx.errors import ExitCode
from served import Served
from terminal import PATIENCE_S, Picture, Terminal

PROTOCOL = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()


@pytest.fixture
def arguments(served):
    return ("top", served.url, *served.trust, "--token-file", served.tokens["metrics"])


@pytest.fixture
def terminal():
    """Open a terminal with a command on it."""
    opened = []

    def start(*command, **options):
        opened.append(Terminal(*command, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def busy(served, image):
    """Somebody asks the model all the time."""
    over = threading.Event()

    def ask():
        with inferonnx.Client(
            served.url,
            ca=served.ca,
            token=served.token("infer"),
            insecure_no_attestation=True,
        ) as client:
            while not over.is_set():
                client.infer("cnn", {"image": image})
                time.sleep(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    yield
    over.set()
    thread.join(PATIENCE_S)


def row(lines, name="cnn 3"):
    (found,) = [line for line in lines if line.startswith(name)]
    return found[len(name) :].split()


def test_without_a_terminal_one_table_is_printed(arguments, busy, capsys):
    assert main([*map(str, arguments), "--interval", "0.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"InferONNX {inferonnx.__version__}  127.0.0.1:")
    assert re.match(r"Memory    [\d.]+ MiB of 400.0 MiB, at most [\d.]+ MiB until now$", lines[2])
    state, size, unit, rate, *_ = row(lines)
    assert (state, unit) == ("open", "MiB")
    assert float(size) > 0
    assert float(rate) > 1
    assert re.search(r"Requests  [\d.]+/s   p50 [\d.]+ .s   p90 [\d.]+ .s   p99 ", "\n".join(lines))
    assert "\x1b" not in "".join(lines)


def test_json_is_what_the_server_said_and_every_key_is_documented(arguments, busy, capsys):
    assert main([*map(str, arguments), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    table = PROTOCOL.split("`inferonnx.status/1`\n\n", 1)[1].split("\n\n", 1)[0]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    documented = [key for cell in cells for key in re.findall("`([^`]+)`", cell)]
    assert found.pop("schema") == "inferonnx.status/1"
    assert sorted(documented) == sorted(set(keys(found)))


def keys(value, at=""):
    """Yield the paths of all leaves."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from keys(part, f"{at}.{key}" if at else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for part in value:
            yield from keys(part, f"{at}[]")
    else:
        yield at


@pytest.mark.parametrize(
    ("role", "words"),
    [("infer", "this needs the role metrics"), (None, "this needs a token with the role metrics")],
)
def test_without_the_role_nothing_is_shown(served, role, words, capsys):
    token = [] if role is None else ["--token-file", str(served.tokens[role])]
    assert main(["top", served.url, *served.trust, *token]) == ExitCode.REFUSED
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err


def test_a_server_that_nothing_vouches_for_is_not_asked(served, capsys):
    assert main(["top", served.url, "--ca", str(served.ca)]) == ExitCode.REFUSED
    assert "nothing proves what runs at" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["0", "-1", "x", "nan", "inf", "0.01"])
def test_intervals_that_make_no_sense_are_refused(served, word, capsys):
    assert main(["top", served.url, f"--interval={word}"]) == ExitCode.BAD_INPUT
    assert "number of seconds" in capsys.readouterr().err


def test_the_screen_lives_until_q(arguments, busy, terminal):
    shown = terminal(*arguments, "--interval", "0.2")
    lines = shown.until(lambda seen: any(line.startswith("cnn 3") for line in seen))
    assert lines[0].startswith("InferONNX ")
    assert lines[-1] == "q quit   s sort: name"
    picture = drawn(shown)
    assert picture.is_other
    assert not picture.has_cursor
    answered = [row(shown.until(has_rates))]
    answered.append(row(shown.until(lambda seen: has_rates(seen) and row(seen) != answered[0])))
    shown.type("q")
    assert shown.end() == 0
    assert_given_back(shown)


def has_rates(lines):
    """Tell whether the model's requests a second are known and some."""
    cells = next((line.split() for line in lines if line.startswith("cnn 3")), [])
    return len(cells) > 5 and cells[5] not in ("-", "0")


def drawn(shown):
    picture = Picture(shown.columns, shown.lines)
    picture.write(shown.output)
    return picture


def assert_given_back(shown):
    """The terminal is as it was: its settings, its screen, its cursor."""
    assert shown.settings() == shown.before
    picture = drawn(shown)
    assert not picture.is_other
    assert picture.has_cursor
    assert picture.wraps


def test_a_frame_is_one_write_over_the_last(arguments, terminal):
    shown = terminal(*arguments, "--interval", "0.1")
    shown.until(lambda _: shown.output.count("\x1b[H") > 5)
    shown.type("q")
    assert shown.end() == 0
    # Nothing is ever cleared first: that is what flickers.
    assert "\x1b[2J" not in shown.output
    frames = re.findall(r"\x1b\[\?2026h\x1b\[H(.*?)\x1b\[0J\x1b\[\?2026l", shown.output, re.DOTALL)
    assert len(frames) > 5
    assert {frame.count("\r\n") for frame in frames} == {23}


@pytest.mark.parametrize(("columns", "lines"), [(200, 50), (80, 24), (40, 12), (24, 5), (10, 2)])
def test_it_fits_whatever_the_window(arguments, terminal, columns, lines):
    shown = terminal(*arguments, "--interval", "60", columns=100, lines=30)
    shown.until(lambda seen: seen[0].startswith("InferONNX"))
    frames = shown.output.count("\x1b[H")
    shown.resize(columns, lines)
    shown.until(lambda _: shown.output.count("\x1b[H") > frames)
    shown.read(0.2)
    frame = shown.output.rpartition("\x1b[H")[2].partition("\x1b[0J")[0]
    texts = [re.sub(r"\x1b\[[\d;]*[mK]", "", line).rstrip("\r") for line in frame.split("\n")]
    assert len(texts) == lines
    if columns >= 20:
        assert max(map(len, texts)) <= columns
    assert texts[0].startswith("InferONNX"[:columns]) or lines < 3
    if lines >= 12:
        assert any(text.startswith("cnn 3") for text in texts)
    shown.type("q")
    assert shown.end() == 0


@pytest.mark.parametrize("how", ["key", "SIGTERM"])
def test_an_interrupt_gives_the_terminal_back(arguments, terminal, how):
    shown = terminal(*arguments, "--interval", "60")
    shown.until(lambda seen: seen[-1].startswith("q quit"))
    if how == "key":
        shown.type("\x03")
    else:
        os.kill(shown.pid, signal.SIGTERM)
    assert shown.end() == ExitCode.INTERRUPTED
    assert_given_back(shown)
    assert "interrupted" in shown.output.rpartition("\x1b[?1049l")[2]


def test_a_stopped_command_leaves_the_terminal_to_the_shell(arguments, terminal):
    shown = terminal(*arguments, "--interval", "60")
    shown.until(lambda seen: seen[-1].startswith("q quit"))
    shown.type("\x1a")
    end = time.monotonic() + PATIENCE_S
    while state_of(shown.pid) != "T":
        assert time.monotonic() < end
        shown.read()
    shown.read()  # what it wrote before it stopped
    assert_given_back(shown)
    os.kill(shown.pid, signal.SIGCONT)
    shown.until(lambda seen: drawn(shown).is_other and seen[-1].startswith("q quit"))
    shown.type("q")
    assert shown.end() == 0
    assert_given_back(shown)


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_keys_sort(arguments, terminal):
    shown = terminal(*arguments, "--interval", "60")
    for sort in ("name", "requests", "p99", "memory", "name"):
        shown.until(lambda seen, sort=sort: seen[-1] == f"q quit   s sort: {sort}")
        shown.type("s")
    shown.type("\x1b[A\x1b[B\x1b[5~\x1bOZjkQ")
    assert shown.end() == 0


def test_colours_are_left_out_where_nobody_wants_them(arguments, terminal):
    coloured = terminal(*arguments, "--interval", "60")
    coloured.until(lambda seen: seen[-1].startswith("q quit"))
    assert "\x1b[34m" in coloured.output
    plain = terminal(*arguments, "--interval", "60", NO_COLOR="1", PYTHONIOENCODING="ascii")
    plain.until(lambda seen: seen[-1].startswith("q quit"))
    assert not re.search(r"\x1b\[[\d;]*m", plain.output)
    assert plain.output.isascii()
    dumb = terminal(*arguments, "--interval", "0.2", TERM="dumb")
    assert dumb.end() == 0
    assert "\x1b" not in dumb.output
    for shown in (coloured, plain):
        shown.type("q")
        assert shown.end() == 0


def test_a_server_that_went_away_is_said_and_another_is_not_taken_for_it(tmp_path, terminal):
    server = Served(tmp_path, None, "--memory", "128MiB")
    try:
        token = server.tokens["metrics"]
        shown = terminal("top", server.url, *server.trust, "--token-file", token, "--interval", 0.2)
        shown.until(lambda seen: "no models yet" in seen)
        server.kill()
        seen = shown.until(lambda seen: seen[-1].startswith("since "))
        assert "no connection to 127.0.0.1 port" in seen[-1]
        assert "no models yet" in seen
        # Another one on its port, with a key of its own: what --ca names is not there.
        (tmp_path / "other").mkdir()
        other = Served(tmp_path / "other", None, "--listen", f"127.0.0.1:{server.port}")
        try:
            assert shown.end() == ExitCode.NOT_AUTHENTIC
        finally:
            other.kill()
        assert_given_back(shown)
        assert "is not trusted" in shown.output
    finally:
        server.kill()


def test_without_a_person_at_the_keyboard_it_ends(arguments):
    ran = subprocess.run(
        [sys.executable, "-m", "inferonnx", *map(str, arguments), "--interval", "0.2"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert "cnn 3" in ran.stdout
