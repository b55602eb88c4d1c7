"""Where a server is: its URL, taken apart and checked."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from inferonnx.errors import UsageError

HTTPS_PORT = 443
"""What a URL without a port means, here as everywhere."""

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)
_PREFIX = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """A server's address.

    Attributes:
        host: Host name or IP address, IPv6 without brackets; what its certificate must name.
        port: TCP port.
        prefix: What stands before every path, "" or "/some/thing".
    """

    host: str
    port: int
    prefix: str = ""

    @property
    def authority(self) -> str:
        """Host and port as the `Host` header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS_PORT else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"https://{self.authority}{self.prefix}"


def parse_url(url: str) -> ServerAddress:
    """Return the address that `url` names: `https://HOST[:PORT][/PREFIX]`.

    Raises:
        UsageError: It is another kind of URL. The error does not repeat it: people put
            passwords into URLs.
    """
    if not (url.isascii() and url.isprintable()):  # `urlsplit` drops tabs and line ends
        raise _wrong("it has characters that no URL has")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _wrong("it can't be read") from error
    if parts.scheme != "https":
        raise _wrong("it does not begin with https://")
    if "@" in parts.netloc or parts.query or parts.fragment or "?" in url or "#" in url:
        raise _wrong("user names, queries and fragments have no place in it")
    if port == 0:
        raise _wrong("no server has port 0")
    prefix = parts.path.removesuffix("/")
    if _PREFIX.fullmatch(prefix) is None:
        raise _wrong("its path has characters that no path has")
    return ServerAddress(
        host=_host(parts), port=HTTPS_PORT if port is None else port, prefix=prefix
    )


def _host(parts: SplitResult) -> str:
    """Return the host, lower-case; zones of IPv6 mean something on one machine alone."""
    host = parts.hostname or ""
    if ":" in host:
        try:
            if "%" not in host:
                return str(ipaddress.IPv6Address(host))
        except ValueError:
            pass
        raise _wrong("its IPv6 address is none")
    if len(host) > 253 or _HOST.fullmatch(host) is None:
        raise _wrong("it names no host")
    return host.removesuffix(".")


def _wrong(reason: str) -> UsageError:
    return UsageError(
        f"the URL of the server can't be used: {reason}",
        hint="Write it like https://models.example.org:8443 (names in their xn-- form).",
    )
