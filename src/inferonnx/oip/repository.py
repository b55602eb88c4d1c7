"""The model repository extension: its index, and requests to load and unload."""

from __future__ import annotations

from dataclasses import dataclass

from inferonnx.oip.errors import InvalidRequestError, UnsupportedError
from inferonnx.oip.json_text import JsonReader, parse_document
from inferonnx.oip.parameters import as_boolean, as_members, not_members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inferonnx.oip.messages import Document

UNKNOWN, READY, UNAVAILABLE, LOADING, UNLOADING = (
    "UNKNOWN",
    "READY",
    "UNAVAILABLE",
    "LOADING",
    "UNLOADING",
)
"""States of a model in the index of the repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """A version of a model in the index of the repository; without version, none was loaded."""

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


def repository_index(entries: Iterable[IndexEntry], *, ready: bool = False) -> list[Document]:
    """Return the index of the repository; of the ready versions only when `ready`."""
    return [_index_entry(entry) for entry in entries if not ready or entry.state == READY]


def parse_index_request(body: bytes | memoryview) -> bool:
    """Return whether only ready models are asked for; an empty body asks for all.

    Raises:
        InvalidRequestError: The body is not `{"ready": true or false}`.
    """
    view = memoryview(body)
    ready = False
    reader = JsonReader(view)
    if view:
        for name in _members(reader):
            start, stop = reader.skip()  # however deep it is: it is looked at as text
            if name == "ready":
                if bytes(view[start:stop]) not in (b"true", b"false"):
                    raise InvalidRequestError("Invalid value for 'ready': expected a boolean")
                ready = bytes(view[start:stop]) == b"true"
        reader.finish()
    return ready


def parse_load_request(body: bytes | memoryview) -> None:
    """Refuse a load request that brings a configuration or files along.

    Raises:
        UnsupportedError: It does: a model is what its owner signed, and nothing else.
        InvalidRequestError: The body is no object.
    """
    reader = JsonReader(memoryview(body))
    if len(body):
        for name in _members(reader):
            if name == "parameters" and reader.is_object():
                for parameter in reader.members():
                    refuse_override(parameter)
                    reader.skip()
            else:
                reader.skip()
        reader.finish()


def parse_unload_request(body: bytes | memoryview) -> bool:
    """Return whether dependents are to be unloaded too, of which no model has any.

    Raises:
        InvalidRequestError: The body is not what Triton's clients send.
    """
    members = as_members(parse_document(body) if len(body) else None, "request")
    parameters = as_members(members.get("parameters"), "parameters")
    return as_boolean(parameters.get("unload_dependents", False), "unload_dependents")


def _members(reader: JsonReader) -> Iterator[str]:
    if not reader.is_object():
        reader.value()
        raise not_members("request")
    return reader.members()


def refuse_override(parameter: str) -> None:
    """Refuse a parameter of a load request that changes what is loaded."""
    if parameter == "config" or parameter.startswith("file:"):
        raise UnsupportedError(
            f"load with {parameter.partition(':')[0]!r} is not supported: a model is served "
            "as its owner signed it"
        )


def _index_entry(entry: IndexEntry) -> Document:
    if not entry.version:
        return {"name": entry.name}
    document = {"name": entry.name, "version": entry.version, "state": entry.state}
    return {**document, "reason": entry.reason} if entry.reason else document
