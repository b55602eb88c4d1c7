"""A small real server: TLS, h11, and a script for each connection that says how it behaves."""

import os
import socket
import ssl
import threading
import time

import h11

from inferonnx.crypto.x509 import TlsKey, certificate_key_hash, self_signed_certificate

PATIENCE_S = 30
"""No test waits for this long but to fail."""


class Certificate:
    """A self-signed certificate and its key, as files."""

    def __init__(self, folder, *names, life_s=3600):
        key = TlsKey()
        pem = self_signed_certificate(
            key, names, now_s=int(time.time()), validity_s=life_s, random=os.urandom(16)
        )
        folder.mkdir(exist_ok=True)
        self.ca = folder / "server.pem"
        self.ca.write_bytes(pem)
        self.both = folder / "both.pem"
        self.both.write_bytes(bytes(key.pem()) + pem)
        self.hash = certificate_key_hash(ssl.PEM_cert_to_DER_cert(pem.decode()))

    def context(self, **options):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.both)
        context.num_tickets = 0
        for name, value in options.items():
            setattr(context, name, value)
        return context


class Link:
    """The server's end of one connection, in the hands of a script."""

    def __init__(self, server, sock):
        self.server, self.sock = server, sock
        self.http = h11.Connection(h11.SERVER)
        self.requests = []

    def event(self):
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self.http.receive_data(self.sock.recv(65536))

    def request(self):
        """Return the next request as (method, path, headers, body); None when there is none."""
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        event = self.event()
        if not isinstance(event, h11.Request):
            return None
        head, body = event, bytearray()
        while not isinstance(event := self.event(), h11.EndOfMessage):
            body += event.data
        headers = {name.decode(): value.decode() for name, value in head.headers}
        found = Asked(head.method.decode(), head.target.decode(), headers, bytes(body))
        self.server.asked.append(found)
        return found

    def reply(self, status, body=b"", **headers):
        """Answer; header names with `_` for `-`."""
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        if status != 204:
            fields.append(("Content-Length", str(len(body))))
        self.sock.sendall(self.http.send(h11.Response(status_code=status, headers=fields)))
        if self.http.our_state is h11.SEND_BODY:
            self.sock.sendall(self.http.send(h11.Data(data=body)) or b"")
            self.sock.sendall(self.http.send(h11.EndOfMessage()) or b"")

    def raw(self, data):
        self.sock.sendall(data)

    def cut(self):
        """End TCP without a word of TLS."""
        os.close(self.sock.detach())


class Asked(tuple):
    """A request as the server got it."""

    __slots__ = ()

    def __new__(cls, method, path, headers, body):
        return super().__new__(cls, (method, path, headers, body))

    method = property(lambda self: self[0])
    path = property(lambda self: self[1])
    headers = property(lambda self: self[2])
    body = property(lambda self: self[3])


class Server:
    """Accepts connections and runs the script of each: the n-th its own, the last for the rest."""

    def __init__(self, certificate, scripts, *, host="127.0.0.1", **tls):
        self.certificate = certificate
        self.asked, self.failures = [], []
        self.n_connections = 0
        self._scripts = scripts
        self._context = certificate.context(**tls)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server((host, 0), family=family)
        self.port = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def url(self, host="127.0.0.1"):
        return f"https://{host}:{self.port}"

    def _accept(self):
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            script = self._scripts[min(self.n_connections, len(self._scripts) - 1)]
            self.n_connections += 1
            thread = threading.Thread(target=self._serve, args=(sock, script))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock, script):
        sock.settimeout(PATIENCE_S)
        try:
            with self._context.wrap_socket(sock, server_side=True) as tls:
                script(Link(self, tls))
        except (OSError, ssl.SSLError) as error:
            self.failures.append(error)  # clients that refuse or leave

    def close(self):
        """Stop accepting, and wait for the scripts; again does nothing."""
        if self._listening.fileno() >= 0:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def answering(*replies):
    """Return a script that gives these replies, in order, the last for ever."""

    def script(link):
        number = 0
        while link.request() is not None:
            status, body, *headers = replies[min(number, len(replies) - 1)]
            link.reply(status, body, **(headers[0] if headers else {}))
            number += 1

    return script
