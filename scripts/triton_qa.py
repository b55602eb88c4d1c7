"""Run Triton's own tests, unmodified, against `inferonnx serve`, and write what came of it.

    scripts/triton_qa.py CHECKOUT [-o docs/triton-qa.md] [--only L0_http]

CHECKOUT is a checkout of https://github.com/triton-inference-server/server; nothing of it
is in this repository. Its tests know plaintext at localhost:8000 and :8001 alone, so
`inferonnx proxy` stands at the first and a relay that adds TLS at the second. They run in
an environment of their own with the current tritonclient. Exit code 1: something failed
for which `triton_qa_runs.py` has no reason.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import ExitStack, closing
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import onnx
from triton_qa_doors import REST, Kit, serving
from triton_qa_models import MODELS, SAMPLES, VERSIONS
from triton_qa_report import Outcome, report
from triton_qa_runs import COMPRESSION, RUNS, Run

from inferonnx.app.host.keys import Key
from inferonnx.app.owner.sealing import seal
from inferonnx.server.codings import Inflater, compress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STOPPED = "stopped after"
PACKAGES = (
    "tritonclient[http,grpc]>=2.73",
    "requests>=2.32",
    "psutil>=7",
    "ml_dtypes>=0.5",
    "boofuzz==0.4.2",
    "numpy<2",  # the tests use names that numpy 2 dropped
)

RUNNER = """
import json, sys, unittest
class Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.outcomes = {}
    def stopTest(self, test):
        super().stopTest(test)
        self.outcomes.setdefault(test.id(), "")
        self.write()
    def write(self):
        with open(sys.argv[2], "w") as file:
            json.dump(self.outcomes, file)
    def _bad(self, test, error):
        if error is not None:
            self.outcomes[test.id()] = (str(error[1]).strip() or error[0].__name__)[:2000]
    addError = addFailure = _bad
    def addSubTest(self, test, subtest, error):
        self._bad(test, error)
suite = unittest.defaultTestLoader.loadTestsFromName(sys.argv[1])
result = Result()
suite.run(result)
result.write()
"""


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="where the table goes (default: stdout)")
    parser.add_argument("--work", type=Path, help="keep sealed models and the environment here")
    parser.add_argument("--only", default="", help="files whose path contains this")
    options = parser.parse_args()
    runs = [run for run in RUNS if options.only in run.file]
    with ExitStack() as stack:
        folder = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        kit = prepared(folder.resolve(), options.checkout)
        outcomes = [outcome for run in runs for outcome in run_file(kit, run)]
        if options.only in COMPRESSION.file:
            outcomes += compression(kit)
    text = report(commit_of(options.checkout), outcomes)
    if options.output is None:
        print(text)
    else:
        options.output.write_text(text)
    surprises = [o for o in outcomes if o.complaint and not o.run.reason(o.test)]
    for outcome in surprises:
        print(f"no reason known: {outcome.run.file} {outcome.test}: {outcome.complaint}")
    return int(bool(surprises))


def commit_of(checkout: Path) -> str:
    """Return the commit that a checkout is at; one without .git may have a file COMMIT."""
    done = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    named = checkout / "COMMIT"
    return done.stdout.strip() or (named.read_text().strip() if named.exists() else "unknown")


def prepared(folder: Path, checkout: Path) -> Kit:
    """Make the environment, the keys and a copy of the tests, which write where they are."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        subprocess.run([str(python), "-m", "pip", "-q", "install", *PACKAGES], check=True)
    shutil.rmtree(folder / "qa", ignore_errors=True)
    shutil.copytree(checkout / "qa", folder / "qa", symlinks=True)
    key, certificate = folder / "owner.key", folder / "client.pem"
    if not key.exists():
        Key.generate().save(key)
    if not certificate.exists():
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "30"),
                *("-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=triton-qa"),
                *("-keyout", str(certificate), "-out", str(certificate) + ".only"),
            ],
            check=True,
            capture_output=True,
        )
        with certificate.open("a") as file:
            file.write(Path(f"{certificate}.only").read_text())
    return Kit(folder, folder / "qa", python, key, certificate)


def run_file(kit: Kit, run: Run) -> Iterator[Outcome]:
    """Run one file against a server of its own; give what became of its tests."""
    repository = repository_of(kit, run)
    folder, module = (kit.qa / run.file).parent, Path(run.file).stem
    results = kit.folder / "results.json"
    results.unlink(missing_ok=True)
    with serving(kit, repository, run) as pid:
        if run.arguments:
            commands = [[str(kit.python), f"{module}.py", *line] for line in run.arguments]
        else:
            names = [f"{module}{'.' + name if name else ''}" for name in run.names]
            commands = [[str(kit.python), "-c", RUNNER, name, str(results)] for name in names]
        if run.is_endless:
            yield fuzzed(commands[0], folder, run)
            return
        for command, name in zip(commands, run.arguments or run.names, strict=True):
            complaint = ended(command, folder, run, {"SERVER_PID": str(pid), **run.environment})
            found = json.loads(results.read_text()) if results.exists() else {}
            results.unlink(missing_ok=True)
            for test, said in found.items():
                yield Outcome(run, test.removeprefix(f"{module}."), said)
            if complaint or not found:
                label = " ".join(name) if run.arguments else name or "the file"
                yield Outcome(run, label, complaint)


def fuzzed(command: Sequence[str], folder: Path, run: Run) -> Outcome:
    """Let the fuzzer send for as long as it may; it has no end that anybody would wait for."""
    complaint = ended(command, folder, run)
    (folder / "fuzz_results.csv").unlink(missing_ok=True)  # gigabytes
    n_sent = n_failed = 0
    for path in folder.glob("boofuzz-results/*.db"):
        with closing(sqlite3.connect(path)) as steps:
            count = "SELECT count(*) FROM steps WHERE type = ?"
            n_sent += steps.execute(count, ("send",)).fetchone()[0]
            n_failed += steps.execute(count, ("fail",)).fetchone()[0]
    live = f"http://localhost:{REST}/v2/health/live"
    with urllib.request.urlopen(live, timeout=60) as reply:
        is_alive = reply.status == 200
    if is_alive and n_sent and not n_failed and complaint.startswith(STOPPED):
        complaint = ""
    return Outcome(run, f"{n_sent} requests in {run.limit_s} s", complaint)


def ended(
    command: Sequence[str], folder: Path, run: Run, more: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Run a command to its end; return what is to be complained of."""
    log = folder / "inferonnx.log"
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            env={**os.environ, **more, "PYTHONPATH": ""},
        )  # fmt: skip
        try:
            code = process.wait(run.limit_s)
        except subprocess.TimeoutExpired:
            return f"{STOPPED} {run.limit_s} s"
        finally:
            process.kill()
            process.wait()
    if code:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        return f"exit code {code}: {last[0] if last else ''}"
    return ""


def repository_of(kit: Kit, run: Run) -> Path:
    """Lay out the models of a run, sealing what is not sealed yet."""
    home = kit.folder / "repository"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    for name in run.models:
        sealed = kit.folder / "sealed" / f"{run.rows}x{run.columns}" / f"{name}.sealed"
        if not sealed.exists():
            sealed.parent.mkdir(exist_ok=True, parents=True)
            plain = sealed.with_suffix(".onnx")
            model = MODELS[name]()
            onnx.save(model, plain)
            seal(
                plain,
                sealed,
                key=Key.load(kit.key),
                memory=run.memory,
                name=name,
                **({"sample": SAMPLES[name]} if name in SAMPLES else {"dims": dims_of(model, run)}),
            )
        for version in VERSIONS.get(name, (1,)):
            place = home / name / str(version)
            place.mkdir(parents=True)
            os.link(sealed, place / "model.sealed")
    return home


def dims_of(model: onnx.ModelProto, run: Run) -> dict[str, int]:
    """Return the sizes that a run's requests have at most, by the names of free dimensions."""
    found = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        # A text of any length is one element, and the tests send few of them.
        is_text = tensor.elem_type == onnx.TensorProto.STRING
        columns = min(run.columns, Run.columns) if is_text else run.columns
        for dim in tensor.shape.dim:
            if dim.dim_param:
                found[dim.dim_param] = run.rows if dim.dim_param == "rows" else columns
    return found


def compression(kit: Kit) -> Iterator[Outcome]:
    """Let our codings stand in the place of Triton's own program between the test's halves."""
    run = COMPRESSION
    folder = (kit.qa / run.file).parent
    raw = b"All work and no play makes Jack a dull boy\n" * 1000
    (folder / "raw_data").write_bytes(raw)
    complaint = ended([str(kit.python), "validation.py", "generate_compressed_data"], folder, run)
    for coding in ("gzip", "deflate"):
        inflater = Inflater()
        found = b"".join(inflater.inflate((folder / f"{coding}_compressed_data").read_bytes()))
        inflater.finish()
        complaint = complaint or ("" if found == raw else f"{coding} inflates to something else")
        compressed = b"".join(asyncio.run(compress([raw], len(raw), coding)))
        (folder / f"generated_{coding}_compressed_data").write_bytes(compressed)
    validated = ended([str(kit.python), "validation.py", "validate_compressed_data"], folder, run)
    yield Outcome(run, "both halves", complaint or validated)


if __name__ == "__main__":
    sys.exit(main())
