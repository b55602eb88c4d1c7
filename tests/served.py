"""`inferonnx serve` in a process of its own, for clients that want the real thing."""

import json
import os
import signal
import subprocess
import sys
import time

from inferonnx.control import TOKEN_RANDOM_BYTES, Role, config_lines, new_token
from machine import tool

PATIENCE_S = 60
"""No test waits for this long but to fail."""

ROLES = {"all": tuple(Role), **{role.value: (role,) for role in Role}}
"""What a server of the tests has tokens for."""


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
    """A server with a token for each role and one for all.

    Attributes:
        url, port, ca: Where it is, and its certificate.
        repository: Its folder of models.
        tokens: Files by role; "all" has every role.
        log: What it writes to stderr.
        facts: What it says at its start.
    """

    def __init__(self, folder, owner, *options, settings="", ca=None):
        """Start one; what is in `folder / "repo"` already is served.

        Args:
            folder: For all that it writes.
            owner: Public key of the owner, None for none.
            options: More of the command line.
            settings: More of its configuration, in TOML.
            ca: What to trust, where the server is given a certificate.
        """
        self.folder = folder
        self.ca = ca or folder / "server.pem"
        self.repository = folder / "repo"
        self.repository.mkdir(exist_ok=True)
        self.tokens = {role: folder / f"{role}.token" for role in ROLES}
        lines = [self._token(ROLES[role], path) for role, path in self.tokens.items()]
        (folder / "serve.toml").write_text("\n".join([settings, *lines]))
        self.log = folder / "log"
        self._command = [
            *(sys.executable, "-P", "-m", "inferonnx", "serve", "--json"),
            *("--config", folder / "serve.toml", "--models", self.repository),
            *(("--owner", owner) if owner else ()),
            *(() if ca else ("--cert-out", self.ca)),
            *("--listen", "127.0.0.1:0", "--memory", "400MiB", *options),
        ]
        self.start()

    def start(self):
        """Start it, also again."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*map(str, self._command)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
            )
        line = self.process.stdout.readline()
        if not line:
            self.kill()
            raise AssertionError(self.log.read_text())
        self.facts = json.loads(line)
        self.url = f"https://{self.facts['addresses'][0]}"
        self.port = int(self.url.rpartition(":")[2])

    @property
    def trust(self):
        """Options by which a command speaks to it."""
        return ("--ca", str(self.ca), "--insecure-no-attestation")

    def token(self, role="all"):
        return self.tokens[role].read_text().strip()

    def bearer(self, role="all"):
        """Return the header that a caller of a role sends."""
        return {"Authorization": f"Bearer {self.token(role)}"}

    def curl(self, path="/", *options, role=None):
        """Return what curl makes of a request: headers and body, or its error."""
        token = [] if role is None else ["-H", f"Authorization: Bearer {self.token(role)}"]
        return subprocess.run(
            [tool("curl"), "-sS", "-i", "--cacert", self.ca, *token, *options, self.url + path],
            capture_output=True,
            check=False,
            timeout=PATIENCE_S,
        )

    def asked(self, path="/", *options, role=None):
        """Return status, headers by lower-case name, and body of what curl gets."""
        done = self.curl(path, *options, role=role)
        assert done.returncode == 0, done.stderr
        head, body = _split(done.stdout)
        status, *fields = head.decode().split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        return int(status.split()[1]), {k.lower(): v for k, v in headers.items()}, body

    def status(self, field):
        """Return a number of the kernel's about the process, kB as bytes: "VmHWM"."""
        with open(f"/proc/{self.process.pid}/status") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines[field].split()[0]) * (1024 if field.startswith("Vm") else 1)

    def requests(self, path=""):
        """Return the log's lines about requests to a route; the log has to be JSON."""
        return [line for line in self.events("request") if path in line.get("path", "")]

    def events(self, event):
        """Return the log's lines about something; the log has to be JSON."""
        found = [json.loads(x) for x in self.log.read_text().splitlines() if x.startswith("{")]
        return [line for line in found if line["event"] == event]

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def end(self):
        """Stop it, and return its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.kill()

    def kill(self):
        """End it at once."""
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()

    def _token(self, roles, path):
        expires_s = int(time.time()) + 86_400
        text, entry = new_token(os.urandom(TOKEN_RANDOM_BYTES), roles=roles, expires_s=expires_s)
        path.write_text(text + "\n")
        path.chmod(0o600)
        return config_lines(entry)


def _split(rest):
    """Return head and body of a reply; a "100 Continue" before it is left out."""
    while True:
        head, _, rest = rest.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 1"):
            return head, rest
