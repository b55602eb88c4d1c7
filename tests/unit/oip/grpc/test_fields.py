"""The table against tritonclient's generated descriptors."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2, service_pb2

from inferonnx.oip.grpc.fields import (
    ENUMS,
    HEALTH_MESSAGES,
    HEALTH_SERVICE,
    MESSAGES,
    METHODS,
    SERVICE,
    STREAM,
)
from inferonnx.oip.grpc.pool import message_class

THEIR_POOL = service_pb2.DESCRIPTOR.pool
PARTIAL = {name for name in MESSAGES if name.startswith("Model") and name not in (
    *service_pb2.DESCRIPTOR.message_types_by_name,
    *(f"{outer}.{inner}" for outer, message in service_pb2.DESCRIPTOR.message_types_by_name.items()
      for inner in message.nested_types_by_name))}  # fmt: skip


def described(field: Any) -> dict[str, Any]:
    return {
        "name": field.name,
        "number": field.number,
        "type": field.type,
        "repeated": field.is_repeated,
        "packed": field.is_packed,
        "message": field.message_type and field.message_type.full_name,
        "enum": field.enum_type and field.enum_type.full_name,
        "oneof": field.containing_oneof and field.containing_oneof.name,
        "map": bool(field.message_type and field.message_type.GetOptions().map_entry),
    }


@pytest.mark.parametrize("name", MESSAGES)
def test_fields_are_theirs(name: str) -> None:
    theirs = THEIR_POOL.FindMessageTypeByName(f"inference.{name}")
    ours = message_class(name).DESCRIPTOR
    their_fields = {field.name: described(field) for field in theirs.fields}
    for field in ours.fields:
        assert described(field) == their_fields.pop(field.name)
    if name not in PARTIAL:
        assert not their_fields


def test_no_message_of_the_service_is_missing() -> None:
    for outer, message in service_pb2.DESCRIPTOR.message_types_by_name.items():
        assert outer in MESSAGES
        for inner, nested in message.nested_types_by_name.items():
            assert nested.GetOptions().map_entry or f"{outer}.{inner}" in MESSAGES


@pytest.mark.parametrize("name", ENUMS)
def test_enums_are_theirs(name: str) -> None:
    theirs = THEIR_POOL.FindEnumTypeByName(f"inference.{name}")
    assert [(v.name, v.number) for v in theirs.values] == [
        (value, number) for number, value in enumerate(ENUMS[name].split())
    ]
    assert model_config_pb2.DataType.DESCRIPTOR is THEIR_POOL.FindEnumTypeByName(
        "inference.DataType"
    )


def test_methods_are_theirs() -> None:
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert service.full_name == SERVICE
    theirs = {
        f"/{SERVICE}/{method.name}": (method.input_type.name, method.output_type.name)
        for method in service.methods
    }
    ours = {path: kinds for path, kinds in METHODS.items() if not path.startswith("/grpc.health")}
    assert ours == theirs
    assert f"/{SERVICE}/{STREAM}" in ours


def test_the_health_service() -> None:
    # grpc.health.v1 of github.com/grpc/grpc-proto, written down once more.
    assert METHODS[f"/{HEALTH_SERVICE}/Check"] == tuple(HEALTH_MESSAGES)
    reply = message_class("HealthCheckResponse")(status=1)
    assert reply.SerializeToString() == b"\x08\x01"
    assert reply.DESCRIPTOR.full_name == "grpc.health.v1.HealthCheckResponse"
    request = message_class("HealthCheckRequest").FromString(b"\n\x01m")
    assert request.service == "m"


@pytest.mark.parametrize("first", ["tritonclient.grpc.service_pb2", "inferonnx.oip.grpc"])
def test_both_live_in_one_process(first: str) -> None:
    second = ({"tritonclient.grpc.service_pb2", "inferonnx.oip.grpc"} - {first}).pop()
    code = f"import importlib; [importlib.import_module(n) for n in ({first!r}, {second!r})]"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_who_does_not_speak_grpc_does_not_load_protobuf() -> None:
    code = (
        "import sys, inferonnx.oip\n"
        "heavy = {'google.protobuf', 'numpy', 'asyncio', 'socket', 'ssl'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
