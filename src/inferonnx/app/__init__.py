"""What the commands do, as functions; the only room that wires the others.

Loaded name by name: opening a model must not load what seals one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferonnx.app.host.keys import Key
    from inferonnx.app.host.opening import open  # noqa: A004 - as archives name it
    from inferonnx.app.host.session import Session
    from inferonnx.app.owner.sealing import seal
    from inferonnx.app.owner.verifying import verify
    from inferonnx.app.relying.client import AsyncClient, Client
    from inferonnx.sealed import ModelPin, Pin, ReleasePin, parse_pin

__all__ = [
    "AsyncClient",
    "Client",
    "Key",
    "ModelPin",
    "Pin",
    "ReleasePin",
    "Session",
    "open",
    "parse_pin",
    "seal",
    "verify",
]

_HOMES = {
    "AsyncClient": "inferonnx.app.relying.client",
    "Client": "inferonnx.app.relying.client",
    "Key": "inferonnx.app.host.keys",
    "ModelPin": "inferonnx.sealed",
    "Pin": "inferonnx.sealed",
    "ReleasePin": "inferonnx.sealed",
    "Session": "inferonnx.app.host.session",
    "open": "inferonnx.app.host.opening",
    "parse_pin": "inferonnx.sealed",
    "seal": "inferonnx.app.owner.sealing",
    "verify": "inferonnx.app.owner.verifying",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
