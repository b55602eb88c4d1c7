"""`inferonnx serve` in a process of its own, for clients that want the real thing."""

import json
import os
import subprocess
import sys

PATIENCE_S = 60
"""No test waits for this long but to fail."""


def command(*arguments, **more):
    """Run `inferonnx` in a process of its own."""
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", **more.pop("environment", {})}
    return subprocess.run(
        [sys.executable, "-P", "-m", "inferonnx", *map(str, arguments)],
        **{"capture_output": True, "text": True, "timeout": PATIENCE_S, **more},
        check=False,
        env=environment,
    )


class Served:
    """A server of one owner, with a token for each role and one for all.

    Attributes:
        url, ca: Where it is, and its certificate.
        tokens: Files by role; "all" has every role.
    """

    def __init__(self, folder, owner, *options):
        self.folder = folder
        self.ca = folder / "server.pem"
        self.tokens = {role: folder / f"{role}.token" for role in ("infer", "manage", "metrics")}
        self.tokens["all"] = folder / "all.token"
        lines = [self._token([role], path) for role, path in self.tokens.items() if role != "all"]
        lines.append(self._token(["infer", "manage", "metrics"], self.tokens["all"]))
        (folder / "serve.toml").write_text("\n".join(lines))
        (folder / "repo").mkdir()
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "inferonnx", "serve", "--json"),
                    *("--config", folder / "serve.toml", "--models", folder / "repo"),
                    *("--owner", owner, "--listen", "127.0.0.1:0", "--cert-out", self.ca),
                    *("--memory", "400MiB", *options),
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
            )
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.facts = json.loads(line)
        self.url = f"https://{self.facts['addresses'][0]}"

    @property
    def trust(self):
        """Options by which a command speaks to it."""
        return ("--ca", str(self.ca), "--insecure-no-attestation")

    def token(self, role="all"):
        return self.tokens[role].read_text().strip()

    def end(self):
        """Stop it, and return its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.stdout.close()

    def _token(self, roles, path):
        given = [word for role in roles for word in ("--role", role)]
        done = command("token", "new", *given, "-o", path)
        assert done.returncode == 0, done.stderr
        return done.stdout
