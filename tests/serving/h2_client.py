"""A client of HTTP/2 that does as it is told, also what no real client does."""

from __future__ import annotations

import struct
import time
from typing import NamedTuple

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from inferonnx.oip.grpc import SERVICE
from inferonnx.server.grpc.framing import Deframer, encode_prefix
from serving.running import PATIENCE_S


class Goaway(NamedTuple):
    """What a server says before it closes."""

    last_stream_id: int
    error_code: int


class Reply:
    """What came on a stream."""

    def __init__(self):
        self.fields, self.data = {}, b""
        self.is_over = False
        self.reset_code = None

    @property
    def status(self):
        return int(self.fields["grpc-status"])

    @property
    def messages(self):
        frames, found = Deframer(), []
        frames.receive(self.data)
        while frames.prefix is not None:
            frames.begin(memoryview(bytearray(frames.prefix.n_bytes)))
            frames.allow(frames.prefix.n_bytes)
            found.append(bytes(frames.finish()))
        return found


class H2Client:
    """One connection."""

    def __init__(self, server, *, protocols=("h2",)):
        context = server.context()
        context.set_alpn_protocols(list(protocols))
        self.sock = context.wrap_socket(server.plain(), server_hostname="localhost")
        self.sock.settimeout(PATIENCE_S)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.replies = {}
        self.events = []
        self.goaways = []
        self.ended = False
        self._pending = b""

    def __enter__(self):
        self.h2.initiate_connection()
        self.flush()
        self.receive_until(lambda: self.h2.outbound_flow_control_window > 65_535)
        return self

    def __exit__(self, *_exception):
        self.sock.close()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def begin(self, method="ServerLive", *, end=False, verb="POST", **fields):
        """Send the header fields of a call, when the server takes another; return its number."""
        path = method if method.startswith("/") else f"/{SERVICE}/{method}"
        head = {
            ":method": verb,
            ":scheme": "https",
            ":path": path,
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
            **{name.replace("_", "-"): value for name, value in fields.items()},
        }
        self.receive_until(
            lambda: self.h2.open_outbound_streams < self.h2.remote_settings.max_concurrent_streams
        )
        number = self.h2.get_next_available_stream_id()
        fields = [(name, value) for name, value in head.items() if value is not None]
        self.h2.send_headers(number, fields, end_stream=end)
        self.replies[number] = Reply()
        self.flush()
        return number

    def send(self, number, data, *, end=False):
        """Send bytes as the windows allow."""
        data = memoryview(data)
        while data:
            n = min(
                len(data),
                self.h2.local_flow_control_window(number),
                self.h2.max_outbound_frame_size,
            )
            if n <= 0:  # a window that has become narrow may be less than none
                self.receive()
                if self.replies[number].is_over or self.ended:
                    return
                continue
            self.h2.send_data(number, bytes(data[:n]), end_stream=end and n == len(data))
            data = data[n:]
            self.flush()
        if end and not len(data) and not self.h2.streams[number].closed:
            self._finish(number)

    def _finish(self, number):
        stream = self.h2.streams[number]
        if stream.state_machine.state.name == "OPEN":
            self.h2.end_stream(number)
            self.flush()

    def call(self, method="ServerLive", message=b"", **fields):
        """Make a unary call, return its reply."""
        number = self.begin(method, **fields)
        self.send(number, encode_prefix(len(message)) + message, end=True)
        return self.reply(number)

    def reply(self, number):
        """Wait for the end of a call."""
        self.receive_until(lambda: self.replies[number].is_over)
        return self.replies[number]

    def receive_until(self, condition):
        end = time.monotonic() + PATIENCE_S
        while not condition() and not self.ended:
            assert time.monotonic() < end
            self.receive()

    def receive(self):
        """Read once."""
        try:
            data = self.sock.recv(65_536)
        except ConnectionError:
            data = b""
        if not data:
            self.ended = True
            for reply in self.replies.values():
                reply.is_over = True
            return
        for event in self.h2.receive_data(self._without_goaways(data)):
            self.events.append(event)
            reply = self.replies.get(getattr(event, "stream_id", None))
            if reply is None:
                continue
            match event:
                case ResponseReceived() | TrailersReceived():
                    reply.fields |= dict(event.headers)
                case DataReceived():
                    reply.data += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case StreamEnded():
                    reply.is_over = True
                case StreamReset():
                    reply.is_over, reply.reset_code = True, event.error_code
        try:
            self.flush()
        except OSError:
            self.ended = True

    def _without_goaways(self, data):
        """Keep GOAWAY frames for ourselves: h2 would take nothing any more after one."""
        self._pending += data
        rest = b""
        while len(self._pending) >= 9:
            n = 9 + int.from_bytes(self._pending[:3], "big")
            if len(self._pending) < n:
                break
            frame, self._pending = self._pending[:n], self._pending[n:]
            if frame[3] == 7:
                last, code = struct.unpack(">II", frame[9:17])
                self.goaways.append(Goaway(last, code))
            else:
                rest += frame
        return rest
