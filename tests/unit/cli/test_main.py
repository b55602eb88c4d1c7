import json
import os
import subprocess
import sys

import numpy as np
import pytest

from inferonnx.cli import main
from inferonnx.cli.main import VERBS


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "inferonnx", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: inferonnx {verb}" in text
    assert "examples:" in text


def test_the_overview_lists_all_verbs(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS)


def test_run_keeps_its_budget_and_reports(sealed_cnn, key_path, image, tmp_path):
    np.savez(tmp_path / "in.npz", image=image)
    done = run(
        *("run", sealed_cnn, "--key", key_path, "--input", tmp_path / "in.npz", "--json"),
        *("-o", tmp_path / "out.npz", "--repeat", 3, "--memory", "60MiB"),
        *("--trace", tmp_path / "trace.json"),
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["peak_rss_bytes"] <= facts["budget_bytes"] == 60 << 20
    assert len(facts["latency_ms"]) == 3
    assert facts["first_latency_ms"] == facts["latency_ms"][0]
    assert {"open_ms", "partitions", "resident_partitions", "streamed_bytes", "model_id"} <= set(
        facts
    )
    assert np.load(tmp_path / "out.npz")["scores"].shape == (1, 10)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert {event["cat"] for event in events} == {"open", "compute"}


def test_run_loads_neither_numpy_nor_onnx(sealed_cnn, key_path, image, tmp_path):
    np.savez(tmp_path / "in.npz", image=image)
    code = (
        "import sys\n"
        "from inferonnx.cli import main\n"
        f"code = main(['run', {str(sealed_cnn)!r}, '--key', {str(key_path)!r}, "
        f"'--input', {str(tmp_path / 'in.npz')!r}, '--memory', '200MiB'])\n"
        "loaded = {'numpy', 'onnx', 'onnxruntime', 'socket', 'ssl', 'http'} & set(sys.modules)\n"
        "assert code == 0 and not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "no.sealed", "--input", "x.npz"], 2, "No such file"),
        (["seal", "no.onnx", "-o", "out.sealed"], 2, "no.onnx"),
        (["inspect", "README.md"], 3, "not a sealed file"),
        (["check", "README.md"], 3, "not a sealed file"),
    ],
)
def test_bad_input_gets_one_sentence(arguments, code, words, key_path, tmp_path):
    (tmp_path / "README.md").write_text("no model")
    arguments = [str(tmp_path / a) if "." in a and a[0] != "-" else a for a in arguments]
    if arguments[0] in ("run", "seal"):
        arguments += ["--key", str(key_path)]
    done = run(*arguments)
    assert done.returncode == code, done.stderr
    first, *rest = done.stderr.strip().splitlines()
    assert first.startswith("inferonnx: error: ")
    assert words in first
    assert len(rest) <= 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md"]


def test_a_budget_that_is_too_small_exits_with_its_own_code(sealed_cnn, key_path, image, tmp_path):
    np.savez(tmp_path / "in.npz", image=image)
    done = run(
        *("run", sealed_cnn, "--key", key_path, "--input", tmp_path / "in.npz", "--memory", "8MiB")
    )
    assert done.returncode == 6
    assert "needs at least" in done.stderr
    assert "hint: Give it --memory" in done.stderr


@pytest.mark.parametrize("size", ["85", "85M", "85Mb", "-1MiB", "many"])
def test_sizes_mean_one_thing(size, capsys, sealed_cnn, key_path):
    if size == "85":
        assert main(["inspect", str(sealed_cnn)]) == 0  # plain bytes are a size
        return
    with pytest.raises(SystemExit) as caught:
        main(["run", str(sealed_cnn), "--key", str(key_path), "--input", "x", f"--memory={size}"])
    assert caught.value.code == 2
    assert "is not a size" in capsys.readouterr().err


def test_keygen_rewrap_and_check(sealed_cnn, key_path, tmp_path, capsys):
    copy = tmp_path / "copy.sealed"
    copy.write_bytes(sealed_cnn.read_bytes())
    new = tmp_path / "new.key"
    assert main(["keygen", "-o", str(new), "--from", str(key_path)]) == 0
    assert new.stat().st_mode & 0o777 == 0o600
    assert main(["rewrap", str(copy), "--key", str(key_path), "--new-key", str(new)]) == 0
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


def test_verify_says_how_far_apart_they_are(cnn, sealed_cnn, key_path, capsys):
    assert main(["verify", str(cnn), str(sealed_cnn), "--key", str(key_path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["relative"] < facts["tolerance"]
    assert facts["same_largest"]


def test_control_characters_of_strangers_are_escaped(tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "\x1b[31mred")]) == 2
    assert "\x1b" not in capsys.readouterr().err
