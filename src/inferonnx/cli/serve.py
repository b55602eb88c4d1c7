"""`inferonnx serve`: serve sealed models over TLS.

This verb promises a peak of memory, so it imports no more than it needs: neither
numpy nor onnx.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

from inferonnx import __version__
from inferonnx.app.host.serve import Server, Started
from inferonnx.cli import interrupts
from inferonnx.cli.options import verb
from inferonnx.cli.printing import say
from inferonnx.control import GROUPS, SETTINGS, parse_config, parse_flags, server_config
from inferonnx.control.kinds import SWITCH
from inferonnx.control.limits import MOST_CONFIG_CHARS
from inferonnx.errors import ExitCode
from inferonnx.report.status import status_page
from inferonnx.runtime.files import read_file
from inferonnx.server.context import Page
from inferonnx.server.log import LEVELS, Log
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs
    from inferonnx.control import ServerConfig, Setting


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `serve`: its options are the settings that have a flag."""
    parser = verb(
        verbs,
        name,
        "Serve the sealed models in a folder to clients of the Open Inference Protocol\n"
        "(Triton, KServe, curl), over TLS that ends in this process, within --memory.\n"
        "Every setting can stand in a file (--config, docs/serve-config.md); flags win.",
        "  inferonnx serve --models repo --owner PUBKEY --cert-out server.pem \\\n"
        "      --allow-anonymous-infer --memory 96MiB\n"
        "  inferonnx serve --models repo --key owner.key --allow-anonymous-infer\n"
        "  inferonnx serve --config serve.toml --listen 0.0.0.0:8443",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="settings in TOML; tokens, limits and time-outs stand in it alone",
    )
    for title, settings in GROUPS.items():
        flags = [setting for setting in settings if setting.flag]
        group = parser.add_argument_group(title) if flags else parser
        for setting in flags:
            _add_flag(group, setting)
    parser.add_argument(
        "--log-level", choices=LEVELS, default="info", help="least level that is written"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object to stdout at start"
    )
    parser.set_defaults(run=_run)


def _add_flag(group: argparse._ActionsContainer, setting: Setting) -> None:
    if setting.kind is SWITCH:
        stores = "store_false" if setting.against else "store_true"
        meaning = setting.against or setting.meaning
        group.add_argument(
            setting.flag, dest=setting.field, action=stores, default=None, help=meaning
        )
        return
    several: dict[str, Any] = {"nargs": "+"} if type(setting.default) is tuple else {}
    group.add_argument(
        setting.flag,
        dest=setting.field,
        metavar="DIR" if setting.is_required else setting.kind.placeholder,
        help=setting.meaning + _default(setting),
        **several,
    )


def _default(setting: Setting) -> str:
    """Return the end of a line of help that says what counts without the flag."""
    if setting.is_required or setting.default is None:
        return ""
    plain = setting.kind.plain(setting.default)
    if setting.field.endswith("_bytes"):
        plain = format_size(setting.default)
    return f" (default: {' '.join(plain) if isinstance(plain, list) else plain})"


def _run(options: argparse.Namespace) -> int:
    config = _configured(options)
    log = Log(level=options.log_level, as_json=config.log_format == "json")
    server = Server(config, log, version=__version__, page=_page())
    asyncio.run(_serve(server, config, as_json=options.json))
    return ExitCode.DONE


def _configured(options: argparse.Namespace) -> ServerConfig:
    file = {}
    if options.config is not None:
        content = read_file(options.config, limit_bytes=4 * MOST_CONFIG_CHARS)  # in UTF-8
        file = dict(parse_config(content.decode("utf-8", "replace")))
    flags = {s.field: getattr(options, s.field) for s in SETTINGS if s.flag}
    return server_config(file, parse_flags(flags))


async def _serve(server: Server, config: ServerConfig, *, as_json: bool) -> None:
    stop = asyncio.Event()
    sentence = "draining: running requests finish; once more ends at once"
    interrupts.stop_on_signals(asyncio.get_running_loop(), stop, sentence)

    def started(facts: Started) -> None:
        _tell(facts, config)
        if as_json:
            print(json.dumps(_facts(facts)), flush=True)

    if not await server.run(started=started, stop=stop):
        os._exit(ExitCode.DONE)  # their time is over, and no thread can be told to end


def _facts(facts: Started) -> dict[str, object]:
    return {
        "schema": "inferonnx.serve/1",
        "addresses": [f"{_bracketed(host)}:{port}" for host, port in facts.addresses],
        "grpc_addresses": [f"{_bracketed(host)}:{port}" for host, port in facts.grpc_addresses],
        "public_key": facts.public_key_hash.hex(),
        "config": facts.config_digest.hex(),
        "memory_bytes": facts.memory_bytes,
        "floor_bytes": facts.floor_bytes,
        "models_bytes": facts.models_bytes,
        "requests_bytes": facts.requests_bytes,
        "least_bytes": facts.least_bytes,
        "server_bytes": facts.server_bytes,
        "models": dict(facts.states),
    }


def _tell(facts: Started, config: ServerConfig) -> None:
    for host, port in facts.addresses:
        say(f"serving      https://{_bracketed(host)}:{port}")
    for host, port in facts.grpc_addresses:
        say(f"gRPC         {_bracketed(host)}:{port}")
    say(f"public key   sha256 {facts.public_key_hash.hex()}")
    parts = facts.floor_bytes + facts.requests_bytes + facts.models_bytes
    connections = facts.memory_bytes - parts
    say(
        f"memory       {format_size(facts.memory_bytes)}: {format_size(facts.floor_bytes)} for the "
        f"server, {format_size(connections)} for connections, "
        f"{format_size(facts.requests_bytes)} for requests, "
        f"{format_size(facts.models_bytes)} for models"
    )
    if facts.least_bytes is None:
        say(f"least        {format_size(facts.server_bytes)}, and what the largest model needs")
    else:
        say(f"least        {format_size(facts.least_bytes)} for the largest model that is unlocked")
    counts = ", ".join(f"{n} {state}" for state, n in facts.states.items())
    say(f"models       {counts or 'none yet'}")
    if config.key is not None:
        say("warning      --key is for development: this process holds the owner's key")
    if config.owner is None and not config.owner_first_come:
        say("warning      no --owner: nobody can push, unlock or delete")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _page() -> Page:
    content, policy = status_page()
    return Page(content=content, policy=policy)
