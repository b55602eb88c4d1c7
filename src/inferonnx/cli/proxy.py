"""`inferonnx proxy`: verified TLS to a server, for clients that can't verify."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from inferonnx.app.relying.token_file import find_token
from inferonnx.cli import interrupts
from inferonnx.cli.options import positive, verb
from inferonnx.cli.printing import say
from inferonnx.cli.servers import add_trust, seconds, target
from inferonnx.client.local import listening, parse_local, shown
from inferonnx.client.proxy import MAX_AGE_S, MAX_CONNECTIONS, Proxy, ProxySettings
from inferonnx.errors import ExitCode, UnavailableError

if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Sequence

    from inferonnx.cli.main import Verbs


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `proxy`."""
    parser = verb(
        verbs,
        name,
        "Take plaintext HTTP/1.1 from clients on this machine to a server, over connections\n"
        "that are verified before anything is sent, and again at a greatest age. Unmodified\n"
        "clients of Triton and KServe speak to it. Requests that call it by another name, or\n"
        "come from another origin's web page, are refused.",
        "  inferonnx proxy --upstream https://models:8443 --listen 127.0.0.1:8000 --ca server.pem\n"
        "  inferonnx proxy --upstream https://models:8443 --listen unix:/run/models.sock \\\n"
        "      --ca server.pem --token-file client.token",
    )
    parser.add_argument("--upstream", metavar="URL", required=True, help="https://HOST:PORT")
    parser.add_argument(
        "--listen",
        metavar="WHERE",
        required=True,
        help="127.0.0.1:PORT, [::1]:PORT, localhost:PORT (port 0: the system chooses), or "
        "unix:PATH, a socket that only this user can open",
    )
    add_trust(parser)
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="add this token where a client sends none; whoever reaches the proxy has its roles",
    )
    parser.add_argument(
        "--max-age",
        metavar="SECONDS",
        type=seconds,
        default=MAX_AGE_S,
        help="greatest age of a verification (default: 600; 0 for no end)",
    )
    parser.add_argument(
        "--max-connections",
        metavar="N",
        type=positive,
        default=MAX_CONNECTIONS,
        help="of local clients at one time (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="listen where other machines reach it, in plaintext",
    )
    parser.add_argument(
        "--name",
        metavar="HOST",
        action="append",
        default=[],
        help="a host name that requests may call the proxy by; may be given again",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    address = parse_local(options.listen, allow_remote=options.allow_remote)
    # Not from the environment: that token is the user's, not everybody's who comes by.
    token = None if options.token_file is None else find_token(options.token_file)
    settings = ProxySettings(
        max_age_s=options.max_age,
        names=tuple(options.name),
        max_connections=options.max_connections,
    )
    upstream = target(options, options.upstream, token)
    with listening(address) as sockets:
        asyncio.run(_serve(Proxy(upstream, settings, told=say), sockets))
    return ExitCode.DONE


async def _serve(proxy: Proxy, sockets: Sequence[socket.socket]) -> None:
    stop = asyncio.Event()
    sentence = "running requests finish; once more ends at once"
    interrupts.stop_on_signals(asyncio.get_running_loop(), stop, sentence)
    try:
        facts = await proxy.verify()
        say(f"verified {facts.host}:{facts.port}, public key sha256 {facts.public_key_hash.hex()}")
    except UnavailableError as error:  # it may come later; what is refused is refused now
        say(f"the server can't be used yet: {error.message}")
    for sock in sockets:
        print(shown(sock), flush=True)
    await proxy.run(sockets, stop)
