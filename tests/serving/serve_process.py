"""`inferonnx serve` as a process, with models that its key unlocks."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

from serving.running import PATIENCE_S


class ServeProcess:
    """A running server.

    Attributes:
        facts: What it said at start.
        ca: Its certificate.
        errors: Its log.
    """

    def __init__(self, folder, *arguments, key=None, models=()):
        repository = folder / "repository"
        for name, version, path in models:
            place = repository / name / str(version)
            place.mkdir(parents=True)
            shutil.copy(path, place / "model.sealed")
        repository.mkdir(exist_ok=True)
        self.ca = folder / "server.pem"
        self.errors = folder / "log"
        command = [sys.executable, "-m", "inferonnx", "serve", "--json"]
        command += ["--models", str(repository), "--listen", "127.0.0.1:0"]
        command += ["--grpc", "127.0.0.1:0", "--cert-out", str(self.ca)]
        command += ["--key", str(key)] if key else []
        with self.errors.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *arguments], stdout=subprocess.PIPE, stderr=log, text=True
            )
        line = self.process.stdout.readline()
        assert line, self.errors.read_text()
        self.facts = json.loads(line)
        self.grpc = "localhost:" + self.facts["grpc_addresses"][0].rpartition(":")[2]
        self.rest = "localhost:" + self.facts["addresses"][0].rpartition(":")[2]

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.errors.read_text()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self):
        """Return its exit code."""
        return self.process.wait(PATIENCE_S)

    def stop(self):
        if self.process.poll() is None:
            self.terminate()
            try:
                self.wait()
            finally:
                self.process.kill()
        self.process.stdout.close()

    def log_has(self, text):
        end = time.monotonic() + PATIENCE_S
        while text not in self.log():
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)
