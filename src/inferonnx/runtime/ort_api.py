"""The C API of onnxruntime, as far as InferONNX calls it.

What must live here: where the library is, the places of functions in the
`OrtApi` table, and their C signatures. What this file may not know: sessions,
models, budgets.

`OrtGetApiBase()->GetApi(n)` returns a table of function pointers that
onnxruntime only ever appends to, so a place in it is fixed for ever
(onnxruntime_c_api.h, "All C API functions are in OrtApi"). The table is taken
from the wheel's own `libonnxruntime.so`, which is another copy of the library
than the Python package's extension module: its environment, pools and
allocators are never shared with sessions of the caller.
"""

from __future__ import annotations

import ctypes
import os
from importlib.util import find_spec

from inferonnx.errors import EngineError, UnavailableError

API_VERSION = 22
"""Oldest table that holds every function below."""

_P = ctypes.c_void_p
_S = ctypes.c_char_p
_Z = ctypes.c_size_t
_I = ctypes.c_int
_I64 = ctypes.c_int64
_REF = ctypes.c_void_p  # pointers to results are passed with byref, which fits any pointer

# name: (place in the table, argument types); all of these return an OrtStatus*.
_CALLS: dict[str, tuple[int, tuple[type, ...]]] = {
    "CreateSessionFromArray": (8, (_P, _P, _Z, _P, _REF)),
    "Run": (9, (_P, _P, _P, _P, _Z, _P, _Z, _P)),
    "CreateSessionOptions": (10, (_REF,)),
    "DisableMemPattern": (17, (_P,)),
    "SetSessionLogSeverityLevel": (22, (_P, _I)),
    "SetSessionGraphOptimizationLevel": (23, (_P, _I)),
    "SessionGetInputCount": (30, (_P, _REF)),
    "SessionGetOutputCount": (31, (_P, _REF)),
    "SessionGetInputName": (36, (_P, _Z, _P, _REF)),
    "SessionGetOutputName": (37, (_P, _Z, _P, _REF)),
    "CreateRunOptions": (39, (_REF,)),
    "RunOptionsSetTerminate": (46, (_P,)),
    "CreateTensorAsOrtValue": (48, (_P, _P, _Z, _I, _REF)),
    "CreateTensorWithDataAsOrtValue": (49, (_P, _P, _Z, _P, _Z, _I, _REF)),
    "GetTensorMutableData": (51, (_P, _REF)),
    "FillStringTensor": (52, (_P, _P, _Z)),
    "GetStringTensorDataLength": (53, (_P, _REF)),
    "GetStringTensorContent": (54, (_P, _P, _Z, _P, _Z)),
    "GetTensorElementType": (60, (_P, _REF)),
    "GetDimensionsCount": (61, (_P, _REF)),
    "GetDimensions": (62, (_P, _P, _Z)),
    "GetTensorTypeAndShape": (65, (_P, _REF)),
    "GetValueType": (67, (_P, _REF)),
    "CreateCpuMemoryInfo": (69, (_I, _I, _REF)),
    "AllocatorAlloc": (75, (_P, _Z, _REF)),
    "AllocatorFree": (76, (_P, _P)),
    "GetAllocatorWithDefaultOptions": (78, (_REF,)),
    "GetValue": (80, (_P, _I, _P, _REF)),
    "GetValueCount": (81, (_P, _REF)),
    "CreateValue": (82, (_P, _Z, _I, _REF)),
    "CreateEnvWithGlobalThreadPools": (119, (_I, _S, _P, _REF)),
    "DisablePerSessionThreads": (120, (_P,)),
    "CreateThreadingOptions": (121, (_REF,)),
    "AddSessionConfigEntry": (130, (_P, _S, _S)),
    "CreateAllocator": (131, (_P, _P, _REF)),
    "CreateAndRegisterAllocator": (144, (_P, _P, _P)),
    "SetGlobalIntraOpNumThreads": (147, (_P, _I)),
    "SetGlobalInterOpNumThreads": (148, (_P, _I)),
    "SetGlobalSpinControl": (149, (_P, _I)),
    "CreateArenaCfg": (156, (_Z, _I, _I, _I, _REF)),
    "AddRunConfigEntry": (165, (_P, _S, _S)),
    "GetResizedStringTensorElementBuffer": (252, (_P, _Z, _Z, _REF)),
}

_RELEASES = {
    "ReleaseEnv": 92,
    "ReleaseStatus": 93,
    "ReleaseMemoryInfo": 94,
    "ReleaseSession": 95,
    "ReleaseValue": 96,
    "ReleaseRunOptions": 97,
    "ReleaseTensorTypeAndShapeInfo": 99,
    "ReleaseSessionOptions": 100,
    "ReleaseThreadingOptions": 122,
    "ReleaseAllocator": 132,
    "ReleaseArenaCfg": 157,
}

_N_PLACES = 1 + max(*_RELEASES.values(), *(place for place, _ in _CALLS.values()))
_GET_ERROR_CODE = 1
_GET_ERROR_MESSAGE = 2


class _ApiBase(ctypes.Structure):
    _fields_ = (
        ("GetApi", ctypes.CFUNCTYPE(_P, ctypes.c_uint32)),
        ("GetVersionString", ctypes.CFUNCTYPE(_S)),
    )


class OrtApi:
    """The loaded library: `call` a function by name, `release` what it made.

    Attributes:
        version: onnxruntime's version, "1.32.0".
    """

    def __init__(self, path: str) -> None:
        """Load the library at `path`, with telemetry refused before its first instruction."""
        # Read by the library while it is being loaded; later is too late.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        try:
            library = ctypes.CDLL(path)
        except OSError as error:
            raise UnavailableError("onnxruntime's library can't be loaded", where=path) from error
        get_base = library.OrtGetApiBase
        get_base.restype = ctypes.POINTER(_ApiBase)
        base = get_base().contents
        self.version = (base.GetVersionString() or b"").decode()
        table = base.GetApi(API_VERSION)
        if not table:
            raise UnavailableError(
                f"onnxruntime {self.version} has no C API of version {API_VERSION}",
                hint="Install the version that InferONNX pins.",
            )
        places = ctypes.cast(table, ctypes.POINTER(_P * _N_PLACES)).contents

        def place_of(place: int) -> int:
            return places[place] or 0

        self._calls = {
            name: ctypes.CFUNCTYPE(_P, *arguments)(place_of(place))
            for name, (place, arguments) in _CALLS.items()
        }
        self.run = self._calls["Run"]
        self._releases = {
            name: ctypes.CFUNCTYPE(None, _P)(place_of(place)) for name, place in _RELEASES.items()
        }
        self.release_value = self._releases["ReleaseValue"]
        self._error_code = ctypes.CFUNCTYPE(_I, _P)(place_of(_GET_ERROR_CODE))
        self._error_message = ctypes.CFUNCTYPE(_S, _P)(place_of(_GET_ERROR_MESSAGE))

    def check(self, status: int | None, what: str) -> None:
        """Raise EngineError when `status` is not success.

        onnxruntime's own text names nodes and inputs of the model, so it goes
        no further than the exception's `private_text`, which nothing prints.
        """
        if not status:
            return
        code = self._error_code(status)
        text = self._error_message(status) or b""
        self._releases["ReleaseStatus"](status)
        error = EngineError(f"onnxruntime could not {what} (its code {code})")
        error.private_text = text.decode("utf-8", "replace")
        raise error

    def call(self, name: str, *arguments: object, what: str = "") -> None:
        """Call a function that returns a status; EngineError when it fails."""
        self.check(self._calls[name](*arguments), what or name)

    def make(self, name: str, *arguments: object, what: str = "") -> int:
        """Call a function whose last argument receives a pointer, and return the pointer."""
        result = _P()
        self.check(self._calls[name](*arguments, ctypes.byref(result)), what or name)
        return result.value or 0

    def release(self, kind: str, pointer: int) -> None:
        """Release an object of the given kind ("Session", "Value", ...)."""
        self._releases["Release" + kind](pointer)


def library_path() -> str:
    """Return the path of `libonnxruntime.so` inside the installed onnxruntime wheel."""
    spec = find_spec("onnxruntime")  # finds, and does not import, the package
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        capi = os.path.join(folder, "capi")
        for name in sorted(os.listdir(capi)) if os.path.isdir(capi) else ():
            if name.startswith("libonnxruntime.so"):
                return os.path.join(capi, name)
    raise UnavailableError(
        "onnxruntime's library was not found",
        hint="Install the version that InferONNX pins: pip install onnxruntime==1.32.0.",
    )
