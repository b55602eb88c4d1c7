"""Messages as documents, the same that REST sends, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from inferonnx.oip.errors import UnsupportedError
from inferonnx.oip.grpc.pool import message_class
from inferonnx.oip.grpc.wire import malformed
from inferonnx.oip.repository import refuse_override

if TYPE_CHECKING:
    from inferonnx.oip.messages import Document

MAX_MESSAGE_BYTES = 64 << 10
"""Request of any method but inference; those are names."""


def parse_message(name: str, data: bytes | memoryview) -> Document:
    """Return what a message says; scalars that it leaves out have their zero.

    Args:
        name: Of the message, "ModelReadyRequest".
        data: Its bytes.

    Raises:
        InvalidRequestError: They are no such message, or too many.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise malformed()
    try:
        message = message_class(name).FromString(bytes(data))
    except DecodeError as error:
        raise malformed() from error
    return _document(message)


def encode_message(name: str, document: Document) -> bytes:
    """Return the bytes of a message.

    Args:
        name: Of the message, "ModelReadyResponse".
        document: Its fields; those that are not there are left out. A member that no field
            of the message has is a mistake of ours.
    """
    message = message_class(name)()
    _fill(message, document)
    return bytes(message.SerializeToString())


def index_reply(entries: list[Document]) -> Document:
    """Return the reply of RepositoryIndex."""
    return {"models": entries}


def config_reply(config: Document) -> Document:
    """Return the reply of ModelConfig."""
    return {"config": config}


def trace_reply(settings: Document) -> Document:
    """Return the reply of TraceSetting: each setting is a list of strings."""
    values = {k: v if isinstance(v, list) else [v] for k, v in settings.items()}
    return {"settings": {k: {"value": v} for k, v in values.items()}}


def log_reply(settings: Document) -> Document:
    """Return the reply of LogSettings: each setting has a type."""
    names = {bool: "bool_param", int: "uint32_param", str: "string_param"}
    return {"settings": {k: {names[type(v)]: v} for k, v in settings.items()}}


def wanted_trace_settings(request: Document) -> Document:
    """Return what a TraceSettingRequest asks for; a setting without a value asks for nothing."""
    wanted: Document = {}
    for name, setting in request["settings"].items():
        values = setting["value"]
        is_list = name == "trace_level" or len(values) > 1
        wanted[name] = (values if is_list else values[0]) if values else None
    return wanted


def wanted_log_settings(request: Document) -> Document:
    """Return what a LogSettingsRequest asks for."""
    return {name: next(iter(s.values()), None) for name, s in request["settings"].items()}


def check_repository_request(request: Document) -> str:
    """Return the model that a load or unload request names.

    Raises:
        UnsupportedError: It names a repository, or brings a configuration or files along.
    """
    if request["repository_name"]:
        raise UnsupportedError("'repository_name' specification is not supported")
    for name in request["parameters"]:
        refuse_override(name)
    return str(request["model_name"])


def _fill(message: Any, document: Document) -> None:
    fields = message.DESCRIPTOR.fields_by_name
    for name, value in document.items():
        field = fields[name]
        if field.enum_type is not None:
            setattr(message, name, field.enum_type.values_by_name[value].number)
        elif field.message_type is None:
            if field.is_repeated:
                getattr(message, name).extend(value)
            else:
                setattr(message, name, value)
        elif field.message_type.GetOptions().map_entry:
            for key, part in value.items():
                _fill(getattr(message, name)[key], part)
        elif field.is_repeated:
            for part in value:
                _fill(getattr(message, name).add(), part)
        else:
            getattr(message, name).SetInParent()
            _fill(getattr(message, name), value)


def _document(message: Any) -> Document:
    document: Document = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.has_presence and not message.HasField(field.name):
            continue
        if field.enum_type is not None:
            known = field.enum_type.values_by_number.get(value)
            document[field.name] = known.name if known else value
        elif field.message_type is None:
            document[field.name] = list(value) if field.is_repeated else value
        elif field.message_type.GetOptions().map_entry:
            document[field.name] = {key: _document(value[key]) for key in value}
        elif field.is_repeated:
            document[field.name] = [_document(part) for part in value]
        else:
            document[field.name] = _document(value)
    return document
