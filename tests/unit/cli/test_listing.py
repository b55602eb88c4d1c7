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
        "sealed",
        "as",
        "version",
        "state",
        "release",
        "file",
        "resident",
        "owner",
        "model",
        "id",
    ]
    (row,) = [line for line in lines if line.split()[:3] == ["cnn", "same", "3"]]
    assert row.split()[3:5] == ["ready", "3"]
    assert Key.load(key_path).public_key[:8] in row


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
    assert "another" in out
    assert "because" in out


@pytest.mark.parametrize(("sealed_name", "shown"), [("net", "same"), ("gpt", "gpt"), (None, "-")])
def test_the_sealed_name_is_shown_where_it_is_known(sealed_name, shown, capsys):
    listing._show([ServedModel(name="net", version=1, state="ready", sealed_name=sealed_name)])
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["net", shown, "1"]


def test_a_line_fits_into_a_hundred_columns(capsys):
    listing._show(
        [
            ServedModel(
                name="efficientnet-lite4-11",
                version=1,
                state="locked",
                sealed_name="efficientnet-lite4-11",
                owner="a" * 64,
                model_id="b" * 64,
                file_bytes=999 * 2**20,
                resident_bytes=999 * 2**20,
            )
        ]
    )
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100
