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
import ssl
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import onnx
from triton_qa_models import MODELS, SAMPLES, VERSIONS
from triton_qa_runs import COMPRESSION, NOT_RUN, PREFACE, RUNS, Run

from inferonnx import __version__
from inferonnx.app.host.keys import Key
from inferonnx.app.owner.sealing import seal
from inferonnx.server.codings import Inflater, compress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REST, GRPC = 8000, 8001
START_S = 120
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


class Outcome(NamedTuple):
    """What became of one test; no complaint is a pass."""

    run: Run
    test: str
    complaint: str


class Kit(NamedTuple):
    """What all runs share: where things are."""

    folder: Path
    qa: Path
    python: Path
    key: Path
    certificate: Path


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
    """Return the commit that a checkout is at."""
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
        for command, name in zip(commands, run.arguments or run.names, strict=True):
            complaint = ended(command, folder, run, {"SERVER_PID": str(pid), **run.environment})
            found = json.loads(results.read_text()) if results.exists() else {}
            results.unlink(missing_ok=True)
            for test, said in found.items():
                yield Outcome(run, test.removeprefix(f"{module}."), said)
            if complaint or not found:
                label = " ".join(name) if run.arguments else name or "the file"
                yield Outcome(run, label, complaint)


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
            return f"stopped after {run.limit_s} s"
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


@contextmanager
def serving(kit: Kit, repository: Path, run: Run) -> Iterator[int]:
    """Serve a repository, with a plaintext door each for REST and gRPC; give the process."""
    ca = kit.folder / "server.pem"
    certificate = str(kit.certificate)
    everything = kit.folder / "serve.toml"
    everything.write_text('client_roles = ["infer", "manage", "metrics"]\n' + run.settings)
    with ExitStack() as stack:
        server = stack.enter_context(
            started(
                *("serve", "--json", "--config", str(everything), "--models", str(repository)),
                *("--listen", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--memory", run.memory),
                *("--key", str(kit.key), "--client-ca", certificate + ".only"),
                *("--cert-out", str(ca)),
                log=kit.folder / "server.log",
            )
        )
        facts = json.loads(server.stdout.readline() or "{}")
        if not facts:
            raise SystemExit((kit.folder / "server.log").read_text())
        proxy = stack.enter_context(
            started(
                *("proxy", "--upstream", f"https://{facts['addresses'][0]}", "--ca", str(ca)),
                *("--listen", f"localhost:{REST}", "--insecure-no-attestation"),
                *("--client-cert", certificate),
                log=kit.folder / "proxy.log",
            )
        )
        if not proxy.stdout.readline():
            raise SystemExit((kit.folder / "proxy.log").read_text())
        stack.enter_context(relaying(GRPC, facts["grpc_addresses"][0], ca, certificate))
        yield server.pid


@contextmanager
def started(*arguments: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Start `inferonnx`, and end it."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "inferonnx", *arguments],
            stdout=subprocess.PIPE, stderr=file, text=True,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(START_S)
        finally:
            process.kill()
            process.stdout.close()


@contextmanager
def relaying(port: int, upstream: str, ca: Path, certificate: str) -> Iterator[None]:
    """Take plaintext at a port of this machine and hand it on over TLS, as it is."""
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2"])
    host, _, number = upstream.rpartition(":")
    loop, ready = asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(
                host, int(number), ssl=context, server_hostname="localhost"
            )
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    async def run() -> None:
        servers = await asyncio.start_server(relay, "localhost", port)
        ready.set()
        await stop.wait()
        servers.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    if not ready.wait(START_S):
        raise SystemExit(f"port {port} is in use")
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(START_S)


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
        compressed = b"".join(asyncio.run(compress([raw], coding)))
        (folder / f"generated_{coding}_compressed_data").write_bytes(compressed)
    validated = ended([str(kit.python), "validation.py", "validate_compressed_data"], folder, run)
    yield Outcome(run, "both halves", complaint or validated)


def report(commit: str, outcomes: Sequence[Outcome]) -> str:
    """Return the page: a table of files, and what does not pass with its reason."""
    passed = sum(not outcome.complaint for outcome in outcomes)
    lines = [
        "# Triton's own tests",
        "",
        f"`scripts/triton_qa.py CHECKOUT` runs {len({o.run.file for o in outcomes})} files of",
        "[Triton's QA](https://github.com/triton-inference-server/server/tree/main/qa),",
        f"unmodified, against `inferonnx serve`: {passed} of {len(outcomes)} pass. This table",
        f"is of commit `{commit}` and inferonnx {__version__}.",
        *PREFACE.splitlines(),
        "",
        "| file | tests | pass | do not |",
        "|---|---:|---:|---:|",
    ]
    for file in dict.fromkeys(outcome.run.file for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.run.file == file]
        good = sum(not outcome.complaint for outcome in mine)
        lines.append(f"| {file} | {len(mine)} | {good} | {len(mine) - good} |")
    lines += ["", "## What does not pass, and why", "", "| test | reason |", "|---|---|"]
    whys = {
        (outcome.test, outcome.run.reason(outcome.test) or f"unknown: {outcome.complaint[:200]}")
        for outcome in outcomes
        if outcome.complaint
    }
    lines += [f"| {test} | {' '.join(why.split())} |" for test, why in sorted(whys)]
    lines += ["", "## What is not run", "", "| files | reason |", "|---|---|"]
    lines += [f"| {files} | {why} |" for files, why in NOT_RUN.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
