"""Message classes made from the table, in a descriptor pool of their own.

In the default pool they would clash with those of tritonclient or kserve, which declare
the same package; here they meet nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from inferonnx.oip.grpc.fields import (
    ENUMS,
    HEALTH_ENUMS,
    HEALTH_MESSAGES,
    HEALTH_PACKAGE,
    MESSAGES,
    PACKAGE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_Field = descriptor_pb2.FieldDescriptorProto
_Type = _Field  # its numbers of types stand beside those of labels
_SCALARS = {
    name: getattr(_Type, f"TYPE_{name.upper()}")
    for name in ["bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes"]
}


def message_class(name: str) -> Any:
    """Return the class of a message; nested ones are named as "Outer.Inner"."""
    found = _CLASSES.get(name)
    if found is None:
        package = HEALTH_PACKAGE if name in HEALTH_MESSAGES else PACKAGE
        descriptor = _POOL.FindMessageTypeByName(f"{package}.{name}")
        found = _CLASSES[name] = message_factory.GetMessageClass(descriptor)
    return found


def _file(
    package: str, messages: Mapping[str, str], enums: Mapping[str, str]
) -> descriptor_pb2.FileDescriptorProto:
    """Return what a .proto file with these messages says."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"inferonnx/{package}.proto", package=package, syntax="proto3"
    )
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name, fields in messages.items():
        outer, _, inner = name.rpartition(".")
        message = made[outer].nested_type.add() if outer else file.message_type.add()
        message.name = inner
        made[name] = message
        for text in fields.split():
            _add_field(message, text, f".{package}.{name}", package, enums)
    for name, values in enums.items():
        outer, _, inner = name.rpartition(".")
        enum = made[outer].enum_type.add() if outer else file.enum_type.add()
        enum.name = inner
        for number, value in enumerate(values.split()):
            enum.value.add(name=value, number=number)
    return file


def _add_field(
    message: descriptor_pb2.DescriptorProto,
    text: str,
    scope: str,
    package: str,
    enums: Mapping[str, str],
) -> None:
    head, _, number = text.rpartition("=")
    name, _, kind = head.partition(":")
    kind, _, choice = kind.partition("|")
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if kind[0] == "[":
        field.label = _Field.LABEL_REPEATED
        kind = kind[1:-1]
    elif kind[0] == "{":
        entry = "".join(part.capitalize() for part in name.split("_")) + "Entry"
        nested = message.nested_type.add(name=entry)
        nested.options.map_entry = True
        _add_field(nested, "key:string=1", scope, package, enums)
        _add_field(nested, f"value:{kind[1:-1]}=2", scope, package, enums)
        field.label = _Field.LABEL_REPEATED
        field.type = _Type.TYPE_MESSAGE
        field.type_name = f"{scope}.{entry}"
        return
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _Type.TYPE_ENUM if kind in enums else _Type.TYPE_MESSAGE
        field.type_name = f".{package}.{kind}"
    if choice:
        names = [oneof.name for oneof in message.oneof_decl]
        if choice not in names:
            message.oneof_decl.add(name=choice)
            names.append(choice)
        field.oneof_index = names.index(choice)


_CLASSES: dict[str, Any] = {}
_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file(PACKAGE, MESSAGES, ENUMS))
_POOL.Add(_file(HEALTH_PACKAGE, HEALTH_MESSAGES, HEALTH_ENUMS))
