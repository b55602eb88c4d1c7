"""`inferonnx serve` in a process of its own, with tokens for those who ask it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from inferonnx.control import TOKEN_RANDOM_BYTES, Role, config_lines, new_token
from serving.running import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path


class ServeProcess:
    """A running server.

    Attributes:
        url: Where it is, by the name in its certificate.
        ca: Its certificate.
        tokens: One for each role.
    """

    def __init__(self, folder: Path, models: Path, *flags: str, port: int = 0) -> None:
        """Start it, and return when it answers.

        Args:
            folder: Where its configuration, certificate and log are written.
            models: Its repository.
            flags: More of the command line.
            port: 0 for a free one.
        """
        now_s = int(time.time())
        made = {
            role: new_token(os.urandom(TOKEN_RANDOM_BYTES), roles=[role], expires_s=now_s + 3600)
            for role in Role
        }
        self.tokens = {role.value: token for role, (token, _) in made.items()}
        self.ca = folder / "server.pem"
        self.log = folder / "log"
        config = folder / "serve.toml"
        config.write_text("".join(config_lines(entry) for _, entry in made.values()))
        self._command = [
            *(sys.executable, "-m", "inferonnx", "serve", "--json"),
            *("--models", str(models), "--config", str(config), "--cert-out", str(self.ca)),
            *flags,
        ]
        self.port = port
        self.start()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def start(self) -> None:
        """Start it, on the port that it had."""
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*self._command, "--listen", f"127.0.0.1:{self.port}"],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
            )
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.facts = json.loads(line)
        self.port = int(self.facts["addresses"][0].rpartition(":")[2])

    def stop(self) -> int:
        """End it in peace, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        self.process.stdout.close()
        return self.process.wait(PATIENCE_S)
