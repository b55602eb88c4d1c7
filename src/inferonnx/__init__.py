"""Run an encrypted ONNX model from disk inside a memory budget.

    import inferonnx

    key = inferonnx.Key.load("owner.key")
    inferonnx.seal("resnet.onnx", "resnet.sealed", key=key, memory="85MiB")

and, in the process that runs it, whose whole memory counts:

    with inferonnx.open("resnet.sealed", key=key, memory="85MiB") as session:
        outputs = session.run(None, {"data": x})

or asks a server that runs it:

    with inferonnx.Client("https://models:8443", ca="server.pem") as client:
        outputs = client.infer("resnet", {"data": x})

Names are loaded when they are first used: importing the package costs next to
nothing, and what opens a sealed model never loads what seals one.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers know it by its name; importing typing takes milliseconds

if TYPE_CHECKING:
    from inferonnx.app import (
        AsyncClient,
        Client,
        Key,
        Pin,
        Session,
        open,  # noqa: A004 - as archives name it
        seal,
        verify,
    )
    from inferonnx.errors import InferonnxError

__version__ = "0.1.0"
__all__ = [
    "AsyncClient",
    "Client",
    "InferonnxError",
    "Key",
    "Pin",
    "Session",
    "__version__",
    "open",
    "seal",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'inferonnx' has no attribute {name!r}")
    from importlib import import_module

    home = "inferonnx.errors" if name == "InferonnxError" else "inferonnx.app"
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
