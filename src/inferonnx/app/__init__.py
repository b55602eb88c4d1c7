"""What the commands do, as functions; the only room that wires the others.

Loaded name by name: opening a model must not load what seals one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferonnx.app.keys import Key
    from inferonnx.app.opening import open  # noqa: A004 - as archives name it
    from inferonnx.app.sealing import seal
    from inferonnx.app.session import Session
    from inferonnx.app.verifying import verify
    from inferonnx.sealed import ModelPin, Pin, ReleasePin, parse_pin

__all__ = ["Key", "ModelPin", "Pin", "ReleasePin", "Session", "open", "parse_pin", "seal", "verify"]

_HOMES = {
    "Key": "inferonnx.app.keys",
    "ModelPin": "inferonnx.sealed",
    "Pin": "inferonnx.sealed",
    "ReleasePin": "inferonnx.sealed",
    "Session": "inferonnx.app.session",
    "open": "inferonnx.app.opening",
    "parse_pin": "inferonnx.sealed",
    "seal": "inferonnx.app.sealing",
    "verify": "inferonnx.app.verifying",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
