"""Where Python's bytes lie in memory, for a library that takes addresses."""

from __future__ import annotations

import ctypes


def address_of(data: bytes | bytearray | memoryview) -> tuple[object, int]:
    """Return an object that keeps `data` in place, and the address of its first byte."""
    view = memoryview(data)
    if not view.nbytes:
        return data, 0
    if not view.readonly:
        array = (ctypes.c_char * view.nbytes).from_buffer(view)
        return array, ctypes.addressof(array)
    if isinstance(data, bytes):
        return data, ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
    # from_buffer wants writable memory; the buffer protocol gives the address of the rest.
    held = _PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(data), ctypes.byref(held), 0)
    address = held.buf or 0
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(held))
    return view, address


class _PyBuffer(ctypes.Structure):
    """Py_buffer of CPython's stable ABI (Include/cpython or pybuffer.h, since 3.11)."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )
