"""Clients by hand: requests as bytes, connections that are left when it hurts."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import struct
import threading
import time
from typing import TYPE_CHECKING

from inferonnx.control import HEADER_NAME, Action, OwnerRequest, sign_owner_request
from inferonnx.crypto import ed25519_sign
from served import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    import inferonnx
    from served import Served

PATIENT = "/v2/models/patient/infer"


def turns(n: int, **parameters: object) -> bytes:
    """Return a request for the model that takes as many turns as it is told."""
    tensor = {"name": "turns", "shape": [], "datatype": "INT64", "data": [n]}
    return json.dumps({"parameters": parameters, "inputs": [tensor]}).encode()


def turns_in(served: Served, seconds: float) -> int:
    """Return how many turns take so long here, with nothing else to do."""
    took = []
    for n in (1, 500, 500, 500):  # the first opens the model
        began = time.monotonic()
        assert Asker(served, PATIENT, turns(n)).answered() == 200
        took.append(time.monotonic() - began)
    return int(500 * seconds / min(took[1:]))


def connection(served: Served) -> http.client.HTTPSConnection:
    """Return a connection that is made with the first request."""
    context = ssl.create_default_context(cafile=served.ca)
    return http.client.HTTPSConnection(
        "127.0.0.1", served.port, context=context, timeout=PATIENCE_S
    )


def raw(
    served: Served, *, port: int | None = None, protocols: Sequence[str] = ("http/1.1",)
) -> ssl.SSLSocket:
    """Return a TLS socket; `port` is REST's if not given."""
    context = ssl.create_default_context(cafile=served.ca)
    context.set_alpn_protocols(list(protocols))
    plain = socket.create_connection(("127.0.0.1", port or served.port), timeout=PATIENCE_S)
    # Else a request waits 40 ms: for the ACK of the handshake, to which nothing is answered.
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def request(path: str, body: bytes = b"", *fields: str, method: str = "POST") -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


def signed(
    served: Served, key: inferonnx.Key, action: Action, name: str, version: int, model_id: bytes
) -> str:
    """Return the header of an owner's request, as docs/owner-requests.md has it."""
    reply = served.asked("/inferonnx/v1/nonce", "-X", "POST")[2]
    asked = OwnerRequest(
        action=action,
        server_key_hash=bytes.fromhex(served.facts["public_key"]),
        nonce=bytes.fromhex(json.loads(reply)["nonce"]),
        model_id=model_id,
        name=name,
        version=version,
    )
    seed, owner = key.owner.signing_seed, key.owner.public_key
    text = sign_owner_request(asked, owner=owner, sign=lambda m: ed25519_sign(seed, m))
    return f"{HEADER_NAME}: {text}"


def reset(sock: ssl.SSLSocket) -> None:
    """Leave without a word, as a process that was killed does."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Asker(threading.Thread):
    """One request, in a thread of its own.

    Attributes:
        status, headers, body: Of the reply; status 0 where there was none.
    """

    def __init__(self, served: Served, path: str, body: bytes, **headers: str) -> None:
        """Ask at once."""
        super().__init__()
        self._served, self._what = served, (path, body, headers)
        self.status, self.headers, self.body = 0, {}, b""
        self.start()

    def run(self) -> None:
        path, body, headers = self._what
        client = connection(self._served)
        try:
            client.request("POST", path, body, headers)
            reply = client.getresponse()
            self.headers, self.body = dict(reply.getheaders()), reply.read()
            self.status = reply.status
        except (OSError, http.client.HTTPException):
            pass  # status 0 says it
        finally:
            client.close()

    def answered(self) -> int:
        """Wait for the end, return the status."""
        self.join(PATIENCE_S)
        assert not self.is_alive()
        return self.status
