"""`inferonnx demo`: seal a trained model, run it in little memory, watch a forgery fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from inferonnx.cli.options import add_memory, verb
from inferonnx.cli.printing import printable
from inferonnx.cli.progress import Progress
from inferonnx.errors import DifferenceError, ExitCode, UnavailableError
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from inferonnx.cli.main import Verbs

REPEATS = 9


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `demo`."""
    parser = verb(
        verbs,
        name,
        "Seal Magika, a trained model that tells the type of a file, run it from the encrypted\n"
        "file inside a memory budget on a file of your choice, compare with plain onnxruntime,\n"
        "change one bit of the sealed file and show the refusal. Then the same with a large\n"
        "model of the zoo. Takes about two minutes and 1.5 GB of disk, mostly for the large one.",
        "  inferonnx demo\n  inferonnx demo --file photo.jpg --large vgg16-7\n"
        "  inferonnx demo --small",
    )
    parser.add_argument(
        "--file", metavar="FILE", help="file whose type is told (default: a Python file of ours)"
    )
    parser.add_argument(
        "--large", metavar="NAME", default="resnet152-v2-7", help="(default: resnet152-v2-7)"
    )
    parser.add_argument("--small", action="store_true", help="leave the large model out")
    parser.add_argument(
        "--models", metavar="DIR", default="models", help="where models are kept (default: models)"
    )
    add_memory(parser, "85MiB")
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    if not options.small:
        from inferonnx.zoo import zoo_model

        zoo_model(options.large)  # a misspelt name is told before the small model's minute
    with tempfile.TemporaryDirectory(prefix="inferonnx-demo-") as folder:
        stage = _Stage(Path(folder), Path(options.models), options.memory)
        stage.make_key()
        try:
            trained = stage.fetch()
        except UnavailableError as error:
            if options.small:
                raise
            print(f"The trained model is not to be had here: {error.message}.")
            print("On to a model of the zoo, whose weights are made from a seed.")
        else:
            stage.identify(trained, Path(options.file or __file__))
        if not options.small:
            stage.classify(options.large)
    print("\nThe sealed files, the key and the forged copies are removed again.")
    return ExitCode.DONE


class _Stage:
    """The demo's folder, key and budget."""

    def __init__(self, folder: Path, models: Path, memory: int) -> None:
        self._folder, self._models, self._memory = folder, models, memory
        self._key = folder / "owner.key"

    def make_key(self) -> None:
        from inferonnx.app.host.keys import Key

        Key.generate().save(self._key)
        print("A key: it seals, opens and signs.            (inferonnx keygen)")

    def fetch(self) -> Path:
        """Return the folder with Magika in it.

        Raises:
            UnavailableError: It is neither there nor to be had.
        """
        from inferonnx import zoo

        trained = self._models / "trained"
        zoo.fetch("magika", str(trained))
        return trained

    def identify(self, trained: Path, path: Path) -> None:
        """Magika on a file."""
        from inferonnx.app.owner.demo import magika_input, npz_in_memory
        from inferonnx.runtime.files import read_file

        window = magika_input(read_file(str(path)))
        sample = self._folder / "magika.npz"
        with npz_in_memory(sample, {"bytes": window}):
            self._identify(trained, path.name, window, sample)

    def _identify(self, trained: Path, name: str, window: Any, sample: Path) -> None:
        import numpy as np

        from inferonnx.app.owner.demo import magika_answer
        from inferonnx.model.plain import PlainModel

        model = trained / "magika.onnx"
        sealed = self._seal(model, sample)
        facts, output = self._run(sealed, sample)
        with np.load(output) as outputs:
            mine = magika_answer(outputs["target_label"], trained / "magika-config.json")
        plain = PlainModel(model).run({"bytes": window})["target_label"]
        theirs = magika_answer(plain, trained / "magika-config.json")
        print(f"\n{printable(name)} is: {mine[0]} ({mine[1]:.4f})")
        print(f"plain onnxruntime says: {theirs[0]} ({theirs[1]:.4f})")
        if mine[0] != theirs[0]:
            raise DifferenceError("the sealed model and plain onnxruntime disagree")
        self._compare(model, facts, sample)
        self._attack(sealed, sample)

    def classify(self, name: str) -> None:
        """A large model of the zoo on its own sample."""
        from inferonnx.app.owner.demo import npz_in_memory
        from inferonnx.app.owner.samples import load_arrays

        print(f"\nNow a large one: {name}, rebuilt with made-up weights.  (inferonnx zoo build)")
        model = self._build(name)
        arrays = load_arrays(model, str(model.parent / "test_data_set_0"))[0]
        sample = self._folder / "large.npz"
        with npz_in_memory(sample, arrays):
            self._classify(model, arrays, sample)

    def _classify(self, model: Path, arrays: Mapping[str, Any], sample: Path) -> None:
        import numpy as np

        from inferonnx.model.plain import PlainModel

        sealed = self._seal(model, sample)
        facts, output = self._run(sealed, sample)
        with np.load(output) as outputs:
            mine = outputs[outputs.files[0]]
        theirs = next(iter(PlainModel(model).run(arrays).values()))
        difference = float(np.abs(mine - theirs).max())
        print(f"\nlargest output: {int(mine.argmax())}, plain onnxruntime: {int(theirs.argmax())}")
        print(f"largest difference between the two: {difference:.2g}")
        self._compare(model, facts, sample)
        self._attack(sealed, sample)

    def _build(self, name: str) -> Path:
        from inferonnx import zoo

        progress = Progress()
        try:
            zoo.build(
                name,
                str(self._models),
                progress=lambda done, total: progress(f"building {100 * done // total} %"),
            )
        finally:
            progress.done()
        return self._models / name / f"{name}.onnx"

    def _seal(self, model: Path, sample: Path) -> Path:
        from inferonnx.app.host.keys import Key
        from inferonnx.app.owner.samples import load_arrays
        from inferonnx.app.owner.sealing import seal

        sealed = self._folder / f"{model.stem}.sealed"
        progress = Progress()
        try:
            report = seal(
                model,
                sealed,
                key=Key.load(self._key),
                memory=self._memory,
                sample=load_arrays(model, str(sample))[0],
                progress=progress,
            )
        finally:
            progress.done()
        print(
            f"Sealed {model.name}: {format_size(report.file_bytes)}, encrypted and signed, "
            f"partitions: {len(report.planned.plan.partitions)}.  (inferonnx seal)"
        )
        return sealed

    def _run(self, sealed: Path, sample: Path) -> tuple[dict[str, Any], Path]:
        """Run the sealed file in a process of its own, as a host would."""
        output = self._folder / "output.npz"
        done = self._command("run", sealed, sample, "-o", str(output), "--repeat", str(REPEATS))
        if done.returncode:
            raise UnavailableError(
                f"the sealed model did not run: {_first_line(done.stderr)}",
                hint="Try it yourself: inferonnx keygen, inferonnx seal, inferonnx run.",
            )
        facts: dict[str, Any] = json.loads(done.stdout)
        return facts, output

    def _compare(self, model: Path, facts: dict[str, Any], sample: Path) -> None:
        """Show peaks and times of both, each in its own process."""
        from inferonnx.bench.stream import Worker
        from inferonnx.report import table

        with Worker(engine="plain", model=str(model), samples=[str(sample)]) as plain:
            plain.run(0)
            plain_ms = median(plain.run(0) for _ in range(REPEATS))
            plain_peak = plain.peak_bytes()
        streamed, peak = facts["streamed_bytes"], facts["peak_rss_bytes"]
        rows = [
            ["plain onnxruntime, in the clear", format_size(plain_peak), f"{plain_ms:.1f}"],
            [
                f"sealed, --memory {format_size(self._memory)}",
                format_size(peak or facts["predicted_peak_bytes"]) + ("" if peak else " (counted)"),
                f"{median(facts['latency_ms'][1:]):.1f}",
            ],
        ]
        print(table(["", "peak of the process", "ms"], rows))
        print(
            f"{format_size(streamed)} of weights were read and opened from disk for each answer, "
            f"{format_size(facts['resident_bytes'])} stayed in memory."
        )

    def _attack(self, sealed: Path, sample: Path) -> None:
        """Change one bit and show that the model refuses to run."""
        from inferonnx.app.owner.demo import forge

        forged = self._folder / "forged.sealed"
        offset = forge(sealed, forged)
        done = self._command("run", forged, sample)
        forged.unlink()
        if done.returncode != ExitCode.NOT_AUTHENTIC:
            raise DifferenceError(f"a forged model was not refused: code {done.returncode}")
        print(f"One bit changed at byte {offset}: {_first_line(done.stderr)}")

    def _command(
        self, what: str, sealed: Path, sample: Path, *more: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(
                    sys.executable,
                    "-P",
                    "-m",
                    "inferonnx",
                    what,
                    str(sealed),
                    "--key",
                    str(self._key),
                ),
                *("--input", str(sample), "--memory", str(self._memory), "--json", *more),
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
        )


def _first_line(text: str) -> str:
    return next(iter(text.splitlines()), "it said nothing")
