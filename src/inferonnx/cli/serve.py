"""`inferonnx serve`: serve sealed models over TLS.

This verb promises a peak of memory, so it imports no more than it needs: neither
numpy nor onnx.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING, Any

from inferonnx import __version__
from inferonnx.app.host.serve import Server, Started
from inferonnx.cli.options import verb
from inferonnx.cli.printing import say
from inferonnx.control import SETTINGS, parse_config, parse_flags, server_config
from inferonnx.control.kinds import SWITCH
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
    parser.add_argument("--config", metavar="FILE", help="settings in TOML (docs/serve-config.md)")
    for setting in SETTINGS:
        if setting.flag:
            _add_flag(parser, setting)
    parser.add_argument(
        "--log-level", choices=LEVELS, default="info", help="least level that is written"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object to stdout at start"
    )
    parser.set_defaults(run=_run)


def _add_flag(parser: argparse.ArgumentParser, setting: Setting) -> None:
    if setting.kind is SWITCH:
        off = setting.flag.startswith("--no-")
        parser.add_argument(
            setting.flag,
            dest=setting.field,
            action="store_false" if off else "store_true",
            default=None,
            help=f"without this flag: {setting.meaning}" if off else setting.meaning,
        )
        return
    several: dict[str, Any] = {"nargs": "+"} if type(setting.default) is tuple else {}
    parser.add_argument(
        setting.flag,
        dest=setting.field,
        metavar=setting.field.removesuffix("_bytes").upper(),
        help=setting.meaning,
        **several,
    )


def _run(options: argparse.Namespace) -> int:
    config = _configured(options)
    log = Log(level=options.log_level, as_json=config.log_format == "json")
    server = Server(config, log, version=__version__, page=_page())
    asyncio.run(_serve(server, config, as_json=options.json))
    return ExitCode.DONE


def _configured(options: argparse.Namespace) -> ServerConfig:
    file = {}
    if options.config is not None:
        file = dict(parse_config(read_file(options.config).decode("utf-8", "replace")))
    flags = {s.field: getattr(options, s.field) for s in SETTINGS if s.flag}
    return server_config(file, parse_flags(flags))


async def _serve(server: Server, config: ServerConfig, *, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        if stop.is_set():
            os._exit(ExitCode.INTERRUPTED)  # the second time: at once, whatever runs
        say("draining: running requests finish; once more ends at once")
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)

    def started(facts: Started) -> None:
        if as_json:
            print(json.dumps(_facts(facts)), flush=True)
        _tell(facts, config)

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
        "models": dict(facts.states),
    }


def _tell(facts: Started, config: ServerConfig) -> None:
    for host, port in facts.addresses:
        say(f"serving      https://{_bracketed(host)}:{port}")
    for host, port in facts.grpc_addresses:
        say(f"gRPC         {_bracketed(host)}:{port}")
    say(f"public key   sha256 {facts.public_key_hash.hex()}")
    say(
        f"memory       {format_size(facts.memory_bytes)}: {format_size(facts.floor_bytes)} for the "
        f"server, {format_size(facts.requests_bytes)} for requests, "
        f"{format_size(facts.models_bytes)} for models"
    )
    if facts.least_bytes is not None:
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
