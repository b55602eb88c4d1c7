"""docs/cli.md says what the code does: every verb, option, exit code and key of JSON."""

import argparse
import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from inferonnx.cli import main
from inferonnx.cli.verbs import VERBS
from inferonnx.errors import EXIT_MEANINGS

TEXT = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
SECTIONS = {part.split("\n", 1)[0]: part for part in TEXT.split("\n## ")[1:]}
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


def options(parser):
    """Yield all options of a parser and of those below it."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from options(below)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "zoo"])
def test_every_option_of_a_verb_is_documented_and_no_other(verb):
    parsers = argparse.ArgumentParser().add_subparsers()
    import_module(f"inferonnx.cli.{VERBS[verb].module}").add_parser(parsers, verb)
    has = set(options(parsers.choices[verb])) - {"-h", "--help"}
    listed = "\n".join(re.findall(r"^- .*(?:\n  .*)*", SECTIONS[verb], re.MULTILINE))
    said = {word for code in re.findall(r"`([^`]*)`", listed) for word in OPTION.findall(code)}
    assert said == has


def test_every_verb_has_a_section_and_no_other():
    assert set(SECTIONS) - {"Exit codes"} == set(VERBS)


def test_exit_codes_are_those_of_the_table():
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", SECTIONS["Exit codes"], re.MULTILINE)
    assert rows == [(str(int(code)), meaning) for code, meaning in EXIT_MEANINGS.items()]


def documented(head):
    """Return the keys of the table under the line `head`."""
    table = TEXT.split(f"\n{head}\n\n", 1)[1].split("\n\n", 1)[0]
    rows = table.splitlines()[2:]
    return [key for row in rows for key in re.findall(r"`([^`]+)`", row.split("|")[1])]


def keys(value, at=""):
    """Yield the paths of all leaves; objects whose keys are a model's own names are leaves."""
    if at in ("metadata", "planned_shapes"):
        yield at
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from keys(part, f"{at}.{key}" if at else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for part in value:
            yield from keys(part, f"{at}[]")
    else:
        yield at


@pytest.fixture(scope="module")
def printed(cnn, sealed_cnn, unnumbered_cnn, served, key_path, tmp_path_factory):
    """What every command prints with --json, by the line that heads its table."""
    import numpy as np

    from inferonnx.app.owner.partitioning import partition

    folder = tmp_path_factory.mktemp("docs")
    np.savez(folder / "in.npz", image=np.zeros((1, 3, 16, 16), np.float32))
    parts = partition(str(cnn), str(folder / "more"), strategy="operators").chain.folder
    key, sealed = ("--key", str(key_path)), str(sealed_cnn)
    server = (served.url, *served.trust, "--token-file", str(served.tokens["all"]))
    return {
        "`inferonnx.seal/1`": ["seal", str(cnn), "-o", str(folder / "m.sealed"), *key],
        "`inferonnx.plan/1`": ["plan", str(cnn)],
        "`inferonnx.least/1`": ["plan", str(cnn), "--least"],
        "`inferonnx.profile/1`": ["profile", str(cnn)],
        "`inferonnx.run/1`": [
            *("run", sealed, *key, "--input", str(folder / "in.npz"), "--memory", "8GiB")
        ],
        "`inferonnx.inspect/1`": ["inspect", sealed],
        "`inferonnx.inspect/1`, with `--key`": ["inspect", sealed, *key],
        "`inferonnx.check/1`": ["check", sealed, *key, "--run"],
        "`inferonnx.push/1`": ["push", *server, str(unnumbered_cnn), *key],
        "`inferonnx.list/1`": ["list", *server],
        "`inferonnx.infer/1`": ["infer", *server, "cnn", "--input", str(folder / "in.npz")],
        "`inferonnx.verify/1`": ["verify", str(cnn), sealed, *key],
        "`inferonnx.partition/1`": ["partition", str(cnn), "-o", str(folder / "parts")],
        "`inferonnx.verify-partitions/1`": ["verify-partitions", str(cnn), str(parts)],
    }


HEADS = re.findall(r"^`inferonnx\..*$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("head", HEADS)
def test_every_key_of_json_is_documented_and_no_other(head, printed, capsys):
    assert main([*printed[head], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.pop("schema") in head
    has = list(dict.fromkeys(keys(found)))
    known = documented(head)
    if "with" in head:
        known = documented("`inferonnx.inspect/1`") + known
    assert len(known) == len(set(known))
    assert set(known) == set(has)


def test_every_key_that_a_server_prints_at_its_start_is_documented(served):
    known = documented("Schema `inferonnx.serve/1`:")
    assert served.facts["schema"] == "inferonnx.serve/1"
    assert set(known) == set(served.facts) - {"schema"}


def test_every_command_with_json_is_tried(printed):
    assert set(HEADS) == set(printed)
