import json
import os
import resource
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import inferonnx
from inferonnx.cli import main
from inferonnx.cli import run as run_module
from inferonnx.errors import ExitCode


def test_run_keeps_its_budget_and_reports(sealed_cnn, key_path, sample, tmp_path, command):
    done = command(
        *("run", sealed_cnn, "--key", key_path, "--input", sample, "--json"),
        *("-o", tmp_path / "out.npz", "--repeat", 3, "--memory", "60MiB"),
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["peak_rss_bytes"] <= facts["budget_bytes"] == 60 << 20
    assert facts["peak_measured"] is True
    assert "counted" not in done.stderr
    assert len(facts["latency_ms"]) == 3
    assert facts["first_latency_ms"] == facts["latency_ms"][0]
    assert facts["samples"] == 1
    assert np.load(tmp_path / "out.npz")["scores"].shape == (1, 10)


def test_nothing_stays_resident_where_that_is_asked(sealed_cnn, key_path, sample, command):
    done = command(
        *("run", sealed_cnn, "--key", key_path, "--input", sample, "--json"),
        *("--no-resident", "--memory", "1GiB"),
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["resident_bytes"] == 0 < facts["streamed_bytes"]


def test_a_trace_shows_read_open_and_compute_on_their_threads(
    sealed_cnn, key_path, sample, tmp_path, command
):
    done = command(
        *("run", sealed_cnn, "--key", key_path, "--input", sample, "--json"),
        *("--repeat", 3, "--threads", 3, "--trace", tmp_path / "trace.json"),
    )
    assert done.returncode == 0, done.stderr
    n_partitions = json.loads(done.stdout)["partitions"]
    rows = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    spans = [row for row in rows if row["ph"] == "X"]
    names = {row["tid"]: row["args"]["name"] for row in rows if row["ph"] == "M"}
    assert sorted(names.values()).count("pass") == 1
    assert set(names) == {span["tid"] for span in spans}
    by_what = {what: [s for s in spans if s["cat"] == what] for what in {s["cat"] for s in spans}}
    assert set(by_what) == {"read", "open", "load", "compute"}
    assert len(by_what["compute"]) == 3 * n_partitions
    assert {names[span["tid"]] for span in by_what["compute"]} == {"pass"}
    for span in (*by_what["read"], *by_what["open"]):
        assert span["name"] == f"{span['cat']} {span['args']['partition']}"
        around = [load for load in by_what["load"] if holds(load, span)]
        assert [load["args"] for load in around] == [{"partition": span["args"]["partition"]}]
    read, opened = (sorted(s["args"]["segment"] for s in by_what[w]) for w in ("read", "open"))
    assert read == opened
    for load in by_what["load"]:
        assert any(holds(load, span) for span in by_what["open"])


def holds(outer, inner):
    """Whether a span of a trace lies in another of its thread, to the microsecond's thousandth."""
    return (
        outer["tid"] == inner["tid"]
        and outer["ts"] <= inner["ts"] + 0.002
        and inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"] + 0.002
    )


def test_a_trace_takes_no_memory_of_the_run(sealed_cnn, key_path, sample, tmp_path, command):
    peaks = [
        json.loads(
            command(
                *("run", sealed_cnn, "--key", key_path, "--input", sample, "--json"),
                *("--repeat", 5500, "--memory", "60MiB", "--no-resident", *trace),
            ).stdout
        )["peak_rss_bytes"]
        for trace in ((), ("--trace", tmp_path / "trace.json"))
    ]
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert len(events) > 20_000  # more than 4 MB, if they were kept
    assert peaks[1] < peaks[0] + (2 << 20)


def test_a_trace_that_finds_the_disk_full_is_said_in_a_sentence(
    sealed_cnn, key_path, sample, tmp_path, command
):
    done = command(
        *("run", sealed_cnn, "--key", key_path, "--input", sample, "--repeat", 200),
        *("--trace", tmp_path / "trace.json"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert done.returncode == ExitCode.UNAVAILABLE, done.stderr
    assert "no space left while writing" in done.stderr
    assert os.listdir(tmp_path) == [sample.name]


def test_run_loads_neither_numpy_nor_onnx_nor_the_owners_side(sealed_cnn, key_path, sample):
    code = (
        "import sys\n"
        "from inferonnx.cli import main\n"
        f"code = main(['run', {str(sealed_cnn)!r}, '--key', {str(key_path)!r}, "
        f"'--input', {str(sample)!r}, '--memory', '200MiB'])\n"
        "unwanted = {'numpy', 'onnx', 'onnxruntime', 'socket', 'ssl', 'http'}\n"
        "unwanted |= {'inferonnx.' + room for room in ('app.owner', 'model', 'report', 'zoo')}\n"
        "loaded = unwanted & set(sys.modules)\n"
        "assert code == 0 and not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_budget_that_is_too_small_exits_with_its_own_code(sealed_cnn, key_path, sample, command):
    done = command("run", sealed_cnn, "--key", key_path, "--input", sample, "--memory", "8MiB")
    assert done.returncode == ExitCode.NO_PLAN
    assert "needs at least" in done.stderr
    assert "hint: Give it --memory" in done.stderr


class Here:
    """`run` in this process, with room for what it holds already."""

    def __init__(self, sealed, key_path):
        self.arguments = ["run", str(sealed), "--key", str(key_path), "--memory", "8GiB"]

    def __call__(self, *more):
        return main([*self.arguments, *map(str, more)])


@pytest.fixture
def here(sealed_cnn, key_path):
    return Here(sealed_cnn, key_path)


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        (1 << 20, (8 << 30) + 1, ExitCode.BUG),
        (1 << 20, 8 << 30, ExitCode.DONE),
        ((8 << 30) + 1, (8 << 30) + 1, ExitCode.DONE),  # it was above before anything was promised
        (None, None, ExitCode.DONE),
    ],
)
def test_a_broken_promise_is_told(before, after, code, here, sample, monkeypatch, capsys):
    peaks = iter([before, after])
    monkeypatch.setattr(run_module, "peak_resident_bytes", lambda: next(peaks))
    assert here("--input", sample) == code
    assert ("above the budget" in capsys.readouterr().err) == (code is ExitCode.BUG)


HIDDEN = """
import sys
from inferonnx.runtime import process
process.PROC = "/nowhere"
from inferonnx.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(params=["told of no /proc", "in no /proc"])
def blind(request):
    """`inferonnx` where the system tells nothing of the process."""
    if request.param == "told of no /proc":
        return [sys.executable, "-P", "-c", HIDDEN]
    return [*request.getfixturevalue("in_no_proc"), sys.executable, "-P", "-m", "inferonnx"]


@pytest.mark.parametrize("json_", [True, False])
def test_a_peak_that_can_not_be_measured_is_counted_and_said(
    blind, json_, sealed_cnn, key_path, sample, command
):
    arguments = ["run", sealed_cnn, "--key", key_path, "--input", sample, "--memory", "60MiB"]
    done = subprocess.run(
        [*blind, *map(str, arguments), *(["--json"] if json_ else [])],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "does not tell what is resident: the peak is counted" in done.stderr
    if not json_:
        assert "(counted) of 60.0 MiB" in done.stderr
        return
    facts = json.loads(done.stdout)
    assert facts["peak_rss_bytes"] is None
    assert facts["peak_measured"] is False
    manifest = json.loads(command("inspect", sealed_cnn, "--key", key_path, "--json").stdout)
    memory, pass_bytes = manifest["memory"], manifest["arena"]["peak_bytes"]
    assert facts["floor_bytes"] == memory["floor_bytes"]
    counted = memory["floor_bytes"] + pass_bytes + facts["resident_bytes"]
    assert facts["streamed_bytes"] == 0
    assert facts["predicted_peak_bytes"] == max(counted, memory["least_bytes"])
    assert facts["predicted_peak_bytes"] <= facts["budget_bytes"]


def test_what_does_not_fit_is_refused_where_it_is_counted_too(blind, sealed_cnn, key_path, sample):
    arguments = ["run", sealed_cnn, "--key", key_path, "--input", sample, "--memory", "20MiB"]
    done = subprocess.run(
        [*blind, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.NO_PLAN
    assert "needs at least" in done.stderr


@pytest.fixture
def samples(image, tmp_path):
    """A folder of three samples, and their images."""
    folder = tmp_path / "samples"
    folder.mkdir()
    images = [image, image * 2, image * 3]
    for i, array in enumerate(images):
        np.savez(folder / f"{i}.npz", image=array)
    return folder, images


def test_a_folder_of_samples_gives_a_folder_of_outputs(here, samples, tmp_path, capsys):
    folder, images = samples
    assert here("--input", folder, "-o", tmp_path / "out", "--repeat", 2) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(": float")[0] for line in shown] == [f"sample {i}: scores" for i in range(3)]
    assert sorted(os.listdir(tmp_path / "out")) == ["0.npz", "1.npz", "2.npz"]
    for i, array in enumerate(images):
        np.savez(tmp_path / "one.npz", image=array)
        assert here("--input", tmp_path / "one.npz", "-o", tmp_path / "one-out.npz") == 0
        one, many = np.load(tmp_path / "one-out.npz"), np.load(tmp_path / "out" / f"{i}.npz")
        np.testing.assert_array_equal(one["scores"], many["scores"])


def test_after_an_error_in_one_sample_there_is_no_folder(here, samples, tmp_path, capsys):
    folder, _ = samples
    np.savez(folder / "3.npz", image=np.zeros(3, np.float32))
    assert here("--input", folder, "-o", tmp_path / "out") == ExitCode.BAD_INPUT
    assert "image" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["samples"]


def test_several_samples_do_not_go_into_one_file(here, samples, tmp_path, capsys):
    assert here("--input", samples[0], "-o", tmp_path / "out.npz") == ExitCode.BAD_INPUT
    assert "there are 3" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_bytes(b"")
    assert here("--input", samples[0], "-o", tmp_path / "full") == ExitCode.BAD_INPUT
    assert "no empty folder" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["-o", "--trace"])
def test_no_input_is_overwritten(option, sealed_cnn, key_path, image, tmp_path, capsys):
    files = {}
    for name, source in (("model.npz", sealed_cnn), ("key.npz", key_path)):
        files[name] = source.read_bytes()
        (tmp_path / name).write_bytes(files[name])
        (tmp_path / name).chmod(0o600)
    np.savez(tmp_path / "in.npz", image=image)
    files["in.npz"] = (tmp_path / "in.npz").read_bytes()
    here = Here(tmp_path / "model.npz", tmp_path / "key.npz")
    for name, content in files.items():
        code = here("--input", tmp_path / "in.npz", option, tmp_path / name)
        assert code == ExitCode.BAD_INPUT
        assert "never overwritten" in capsys.readouterr().err
        assert (tmp_path / name).read_bytes() == content


def test_no_input_behind_a_link_is_overwritten(here, samples, image, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    np.savez(tmp_path / "elsewhere" / "in.npz", image=image)
    (samples[0] / "more").symlink_to("../elsewhere")
    before = (tmp_path / "elsewhere" / "in.npz").read_bytes()
    code = here("--input", samples[0], "--trace", tmp_path / "elsewhere" / "in.npz")
    assert code == ExitCode.BAD_INPUT
    assert "never overwritten" in capsys.readouterr().err
    assert (tmp_path / "elsewhere" / "in.npz").read_bytes() == before


def test_two_outputs_of_one_name_are_refused(here, sample, tmp_path, capsys):
    code = here("--input", sample, "-o", tmp_path / "a.npz", "--trace", tmp_path / "a.npz")
    assert code == ExitCode.BAD_INPUT
    assert "two outputs" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["no/out.npz", "out.csv"])
def test_a_place_that_can_not_be_written_is_told_first(place, sample, tmp_path, capsys):
    here = Here(tmp_path / "none.sealed", tmp_path / "none.key")
    assert here("--input", sample, "-o", tmp_path / place) == ExitCode.BAD_INPUT
    assert "out." in capsys.readouterr().err
    assert here("--input", tmp_path / "none.npz") == ExitCode.BAD_INPUT
    assert "none.npz" in capsys.readouterr().err


def test_a_misspelt_input_is_refused(here, image, tmp_path, capsys):
    np.savez(tmp_path / "in.npz", imag=image)
    assert here("--input", tmp_path / "in.npz") == ExitCode.BAD_INPUT
    first, second = capsys.readouterr().err.splitlines()
    assert "no input 'imag'" in first
    assert second == "hint: Its inputs are: image."


@pytest.fixture(scope="module")
def without_inputs(key_path, tmp_path_factory):
    """A model that computes from weights alone, and its sealed file."""
    folder = tmp_path_factory.mktemp("without-inputs")
    ramp = np.arange(16, dtype=np.float32).reshape(4, 4)
    graph = helper.make_graph(
        [
            helper.make_node("RandomUniformLike", ["w"], ["r"], seed=1.0),  # no constant
            helper.make_node("Mul", ["r", "zero"], ["n"]),
            helper.make_node("Add", ["w", "n"], ["y"]),
        ],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 4])],
        [numpy_helper.from_array(ramp, "w"), numpy_helper.from_array(np.float32(0), "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "m.onnx")
    key = inferonnx.Key.load(key_path)
    inferonnx.seal(folder / "m.onnx", folder / "m.sealed", key=key, memory="85MiB")
    return folder


def test_a_model_without_inputs_needs_none(without_inputs, key_path, sample, tmp_path, capsys):
    here = Here(without_inputs / "m.sealed", key_path)
    assert here("-o", tmp_path / "y.npy", "--repeat", 2) == ExitCode.DONE, capsys.readouterr().err
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy").ravel(), np.arange(16))
    np.savez(tmp_path / "nothing.npz")
    assert here("--input", tmp_path / "nothing.npz") == ExitCode.DONE
    capsys.readouterr()
    assert here("--input", sample) == ExitCode.BAD_INPUT
    assert "Its inputs are: none." in capsys.readouterr().err
    model = str(without_inputs / "m.onnx")
    verify = ["verify", model, str(without_inputs / "m.sealed"), "--key", str(key_path)]
    assert main(verify) == ExitCode.DONE


def test_a_model_with_inputs_names_them_when_none_is_given(here, tmp_path, capsys):
    assert here("-o", tmp_path / "y.npz") == ExitCode.BAD_INPUT
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("the model has inputs and none was given: 'image'")
    assert second == "hint: Give them with --input."
    assert not os.listdir(tmp_path)
