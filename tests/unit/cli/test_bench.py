import json

from inferonnx.cli import main
from inferonnx.errors import ExitCode


def test_an_error_of_a_worker_arrives_with_its_hint_and_its_exit_code(tmp_path, capsys):
    code = main(
        [
            *("bench", "stream", "--models", "squeezenet1.0-7", "--memory", "8MiB"),
            *("--zoo", str(tmp_path / "models"), "-o", str(tmp_path / "results")),
        ]
    )
    assert code == ExitCode.NO_PLAN
    first, second = capsys.readouterr().err.splitlines()[-2:]
    assert first.startswith("inferonnx: error: squeezenet1.0-7: this model needs at least")
    assert second.startswith("hint: Give it --memory ")
    report = json.loads((tmp_path / "results" / "bench-stream.json").read_text())
    assert (report["rows"], len(report["machine"]["failed"])) == ([], 1)
