"""Where the proxy listens: for this machine alone, unless somebody says otherwise.

A name that an attacker's DNS gives to 127.0.0.1 leads browsers here (DNS rebinding),
and any page may send a form here. So a request must name the proxy as the proxy is
called, and must not come from a page of another origin.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inferonnx.errors import UnavailableError, UsageError
from inferonnx.runtime.files import translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BACKLOG = 128
"""Connections that the kernel completes before we accept them."""

_UNIX = "unix:"
_HTTP_PORT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAddress:
    """Where to listen.

    Attributes:
        path: Of a Unix socket; empty for TCP.
        host: IP address or `localhost`; empty for a Unix socket.
        port: TCP port, 0 for any that is free.
    """

    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return bool(self.path) or self.host == "localhost" or _ip(self.host).is_loopback


def parse_local(text: str, *, allow_remote: bool = False) -> LocalAddress:
    """Return where `text` says: `HOST:PORT` or `unix:PATH`.

    Args:
        text: HOST is an IP address, IPv6 in brackets, or `localhost`.
        allow_remote: Other machines may reach it, although nothing protects their requests
            on the way, or asks who they are.

    Raises:
        UsageError: It is no address, or one that others reach.
    """
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        if not path or "\0" in path:
            raise _wrong(text)
        return LocalAddress(path=path)
    host, _, port = text.rpartition(":")
    if host[:1] == "[" and host[-1:] == "]":
        host = host[1:-1]
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 1 << 16):
        raise _wrong(text)
    try:
        address = LocalAddress(host=host, port=int(port))
        is_loopback = address.is_loopback
    except ValueError as error:
        raise _wrong(text) from error
    if not is_loopback and not allow_remote:
        raise UsageError(
            f"others reach {text!r:.100} too, and the proxy takes requests in plaintext",
            hint="Listen on 127.0.0.1 or a Unix socket, or say --allow-remote.",
        )
    return address


@contextmanager
def listening(address: LocalAddress) -> Iterator[list[socket.socket]]:
    """Open the sockets of an address; a Unix socket is its owner's alone, and goes at the end.

    Raises:
        UnavailableError: Something else listens there, or it is not allowed.
        UsageError: Something that is no socket has the path.
    """
    sockets: list[socket.socket] = []
    try:
        if address.path:
            sockets.append(_listening_unix(address.path))
        else:
            for sock in _listening_tcp(address):
                sockets.append(sock)  # noqa: PERF402 - kept, should the next one fail
        yield sockets
    finally:
        for sock in sockets:
            sock.close()
        if address.path and sockets:
            _remove(address.path)


def own_names(sockets: Sequence[socket.socket], extra: Sequence[str]) -> frozenset[str]:
    """Return what `Host` may say, in lower case; nothing restricts a Unix socket.

    Args:
        sockets: That are listened on.
        extra: More host names, for a proxy that others reach.
    """
    names = set()
    for sock in sockets:
        if sock.family == socket.AF_UNIX:
            continue
        host, port = str(sock.getsockname()[0]), sock.getsockname()[1]
        hosts = {host, *extra}
        if _ip(host).is_loopback:
            hosts |= {"localhost", "127.0.0.1", "::1"}
        for each in hosts:
            shown = f"[{each}]" if ":" in each else each.lower()
            names.add(f"{shown}:{port}")
            if port == _HTTP_PORT:
                names.add(shown)
    return frozenset(names)


def shown(sock: socket.socket) -> str:
    """Return where a client finds a listening socket."""
    name: Any = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"{_UNIX}{name}"
    host = f"[{name[0]}]" if sock.family == socket.AF_INET6 else name[0]
    return f"http://{host}:{name[1]}"


def _listening_tcp(address: LocalAddress) -> Iterator[socket.socket]:
    """Yield a socket for each address of the host; `localhost` may have one that is not there."""
    found = dict.fromkeys(
        socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    )
    n_open = 0
    for number, (family, kind, protocol, _, place) in enumerate(found, 1):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(place)
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            is_last_chance = number == len(found) and not n_open
            if is_last_chance or error.errno != errno.EADDRNOTAVAIL:
                raise _cannot(f"{address.host} port {address.port}", error) from error
            continue
        n_open += 1
        yield sock


def _listening_unix(path: str) -> socket.socket:
    _make_room(path)
    sock = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)  # nobody else, not even for a moment
    try:
        sock.bind(path)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _cannot(repr(path), error) from error
    finally:
        os.umask(before)
    return sock


def _make_room(path: str) -> None:
    """Remove the socket of a proxy that is gone; anything else that is there stays."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise translate(error, path, "looking at") from error
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"{path!r} is there already, and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError as error:
            raise translate(error, path, "connecting to") from error
    raise UnavailableError(
        f"something listens on {path!r} already", hint="Stop it, or choose another path."
    )


def _remove(path: str) -> None:
    with suppress(OSError):  # somebody else has removed it
        os.unlink(path)


def _cannot(place: str, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"can't listen on {place}: {error.strerror or error}",
        hint="Stop what uses it, or choose another.",
    )


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(host)


def _wrong(text: str) -> UsageError:
    return UsageError(
        f"{text!r:.100} is no place to listen on",
        hint="Write 127.0.0.1:8000, [::1]:8000, localhost:8000 or unix:/path/to/socket.",
    )
