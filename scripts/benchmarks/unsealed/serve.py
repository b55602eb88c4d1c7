"""Serve one model in the clear, with TLS or without: what "without TEE" is measured with.

serve.py PLAIN [--resident] [--cert-out FILE] prints one JSON object when it answers, then a line
of JSON to standard error for each request, as `inferonnx serve --log-format json` does. A
request is one of the Open Inference Protocol, at any path that ends in /infer. Standard
library alone, blocking, a thread a connection: this server is for measurements on the
machine itself, and listens to nobody else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

from plain_file import open_plain
from steps import Steps

from inferonnx.errors import InferonnxError
from inferonnx.oip import (
    HEADER_LENGTH_NAME,
    Limits,
    RawRequest,
    check_request,
    encode_infer_response,
    make_response,
    make_signature,
    parse_header_length,
    parse_infer_request,
    resolve_raw,
)
from inferonnx.server.identity import TlsSettings, born_identity
from inferonnx.tensors import Tensor

if TYPE_CHECKING:
    import socket
    import ssl

    from inferonnx.app.host.session import Session

HOST = "127.0.0.1"
MODEL = "plain"


class Handler(BaseHTTPRequestHandler):
    """Answers on one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    session: ClassVar[Session]
    steps: ClassVar[Steps]

    def parse_request(self) -> bool:
        """Note when the request's first line has come."""
        self.begun = time.perf_counter()
        return super().parse_request()

    def do_POST(self) -> None:
        """Compute an answer, and tell what it took."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            pieces, header_length, content_type, engine_ms = self._answer(body)
        except InferonnxError as error:
            self.send_error(400, error.message)
            return
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        if header_length is not None:
            self.send_header(HEADER_LENGTH_NAME, str(header_length))
        self.send_header("Content-Length", str(sum(len(piece) for piece in pieces)))
        self.end_headers()
        self.wfile.write(b"".join(pieces))
        self.wfile.flush()
        facts = {
            "event": "request",
            "status": 200,
            "ms": round((time.perf_counter() - self.begun) * 1e3, 3),
            "engine_ms": round(engine_ms, 3),
            "partition_ms": self.steps.taken_ms(),
        }
        print(json.dumps(facts), file=sys.stderr, flush=True)

    def _answer(self, body: bytes) -> tuple[Any, int | None, str, float]:
        signature = make_signature(self.session.get_inputs(), self.session.get_outputs())
        request = parse_infer_request(
            memoryview(body),
            header_length=parse_header_length(self.headers.get(HEADER_LENGTH_NAME), len(body)),
            model_name=MODEL,
            model_version="1",
            limits=Limits(json_bytes=len(body), tensor_bytes=1 << 30),
        )
        if isinstance(request, RawRequest):
            request = resolve_raw(request, signature)
        start = time.perf_counter()
        results = self.session.run(None, check_request(request, signature, is_json=False))
        engine_ms = (time.perf_counter() - start) * 1e3
        tensors = [value for value in results if isinstance(value, Tensor)]
        response = make_response(request, signature, tensors, model_version="1")
        return (*encode_infer_response(response, request), engine_ms)

    def log_message(self, *_: object) -> None:
        """Say nothing: a line of our own tells more."""


class Server(ThreadingHTTPServer):
    """With TLS where there is a context."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None) -> None:
        """Listen on any free port."""
        super().__init__((HOST, 0), Handler)
        self._context = context

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept; the handshake is the connection's own thread's."""
        sock, address = super().get_request()
        if self._context is not None:
            sock = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return sock, address


def main() -> int:
    """Serve until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a file of unseal.py")
    parser.add_argument("--resident", action="store_true", help="read the weights once")
    parser.add_argument("--cert-out", help="serve with TLS; write the certificate here")
    options = parser.parse_args()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    context = None
    if options.cert_out:
        identity = born_identity(
            ["localhost"], settings=TlsSettings(), now_s=int(time.time()), random=os.urandom(16)
        )
        with open(options.cert_out, "wb") as file:
            file.write(identity.certificate_pem)
        context = identity.context("http/1.1")
    # As `inferonnx serve`: what answers clients wants the cores that spinning takes.
    with open_plain(options.model, resident=options.resident, spin=False) as session:
        Handler.session, Handler.steps = session, Steps()
        session.trace(Handler.steps)
        server = Server(context)
        facts = {
            "addresses": [f"{HOST}:{server.server_port}"],
            "streamed_bytes": session.figures.streamed_bytes,
        }
        print(json.dumps(facts), flush=True)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
