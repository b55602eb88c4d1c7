import json

import pytest

from inferonnx.app.host.keys import Key
from inferonnx.cli import listing, main
from inferonnx.client.manage import ServedModel


@pytest.fixture
def run(served, capsys):
    def start(*options):
        token = ["--token-file", str(served.tokens["infer"])]
        assert main(["list", served.url, *served.trust, *token, *options]) == 0
        return capsys.readouterr().out

    return start


def test_a_line_for_each_version(run, key_path):
    head, *lines = run().splitlines()
    assert head.split() == [
        "name",
        "version",
        "state",
        "release",
        "file",
        "resident",
        "owner",
        "model",
        "id",
    ]
    (row,) = [line for line in lines if line.split()[:2] == ["cnn", "3"]]
    assert row.split()[2:4] == ["ready", "3"]
    assert Key.load(key_path).public_key[:12] in row


def test_json_has_all_of_it(run, key_path):
    found = json.loads(run("--json"))
    assert found["schema"] == "inferonnx.list/1"
    (model,) = [model for model in found["models"] if model["version"] == 3]
    assert model["sealed_name"] == "cnn"
    assert model["owner"] == Key.load(key_path).public_key
    assert model["state"] == "ready"


def test_a_server_without_models(served, monkeypatch, capsys):
    monkeypatch.setattr("inferonnx.client.client.Client.models", lambda _: [])
    assert main(["list", served.url, *served.trust]) == 0
    assert capsys.readouterr().out == "no models yet\n"


def test_what_a_server_says_moves_no_cursor(capsys):
    wicked = ServedModel(
        name="\x1b[2J" + "n" * 500,
        version=1,
        state="\r",
        reason="because\n\x07" + "r" * 5000,
        sealed_name="another\x1b",
        owner="\x1b]0;",
    )
    listing._show([wicked])
    out = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in out)
    assert max(map(len, out.splitlines())) < 700
    assert "sealed as another" in out or "because" in out
