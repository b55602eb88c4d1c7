"""Tests of messages as documents: tritonclient's classes write and read them."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2

from inferonnx.oip import (
    BatchStatistics,
    Duration,
    IndexEntry,
    InvalidRequestError,
    ModelSignature,
    ModelStatistics,
    UnsupportedError,
    check_settings,
    log_settings,
    model_config,
    model_metadata,
    model_statistics,
    repository_index,
    server_metadata,
    trace_settings,
)
from inferonnx.oip.grpc import (
    METHODS,
    check_repository_request,
    config_reply,
    encode_message,
    index_reply,
    log_reply,
    parse_message,
    trace_reply,
    wanted_log_settings,
    wanted_trace_settings,
)


def test_metadata(signature: ModelSignature) -> None:
    for name, document in (
        ("ServerMetadataResponse", server_metadata("inferonnx", "1")),
        ("ModelMetadataResponse", model_metadata("m", ["1", "2"], signature)),
    ):
        data = encode_message(name, document)
        message = getattr(service_pb2, name).FromString(data)
        assert message.SerializeToString(deterministic=True) == data
        assert parse_message(name, data) == document
    assert [t.name for t in message.inputs] == ["a", "b"]
    assert list(message.inputs[0].shape) == [-1, 4]


@pytest.mark.parametrize("most", [0, 8])
def test_the_configuration(signature: ModelSignature, most: int) -> None:
    signature = ModelSignature(
        inputs=signature.inputs, outputs=signature.outputs, max_batch_size=most
    )
    document = model_config("m", signature, n_instances=3, max_queue_delay_us=2000)
    data = encode_message("ModelConfigResponse", config_reply(document))
    message = service_pb2.ModelConfigResponse.FromString(data)
    found = MessageToDict(
        message.config, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for side in ("input", "output"):
        for tensor in found[side]:
            tensor["dims"] = [int(size) for size in tensor["dims"]]
    if most:
        batching = found["dynamic_batching"]
        batching["max_queue_delay_microseconds"] = int(batching["max_queue_delay_microseconds"])
    assert message.config.HasField("dynamic_batching") is bool(most)

    def holds(ours: object, theirs: object) -> None:
        """Theirs has all that ours says, and more fields with nothing in them."""
        if isinstance(ours, dict):
            assert isinstance(theirs, dict)
            for key, value in ours.items():
                holds(value, theirs[key])
        elif isinstance(ours, list):
            assert isinstance(theirs, list)
            for mine, yours in zip(ours, theirs, strict=True):
                holds(mine, yours)
        else:
            assert ours == theirs

    holds(document, found)


def test_statistics() -> None:
    stats = ModelStatistics(
        name="m",
        version="3",
        last_inference_ms=2**41,
        inference_count=5,
        execution_count=2,
        queue=Duration(count=4, ns=2**40),
        batches=(BatchStatistics(batch_size=2, compute_infer=Duration(count=1, ns=9)),),
        resident_bytes=2**33,
    )
    document = model_statistics([stats])
    data = encode_message("ModelStatisticsResponse", document)
    (found,) = service_pb2.ModelStatisticsResponse.FromString(data).model_stats
    assert found.inference_stats.queue.ns == 2**40
    assert found.inference_stats.HasField("cache_hit")
    assert found.memory_usage[0].byte_size == 2**33
    assert parse_message("ModelStatisticsResponse", data) == document


def test_the_index() -> None:
    entries = [IndexEntry(name="a", version="1", state="READY"), IndexEntry(name="b")]
    data = encode_message("RepositoryIndexResponse", index_reply(repository_index(entries)))
    message = service_pb2.RepositoryIndexResponse.FromString(data)
    assert [(m.name, m.version, m.state) for m in message.models] == [
        ("a", "1", "READY"),
        ("b", "", ""),
    ]


@pytest.mark.parametrize("kind", ["Load", "Unload"])
def test_loading_and_unloading(kind: str) -> None:
    make = getattr(service_pb2, f"RepositoryModel{kind}Request")

    def parsed(**fields: object) -> dict[str, object]:
        return parse_message(make.__name__, make(**fields).SerializeToString())

    unload = {"unload_dependents": {"bool_param": False}}
    assert check_repository_request(parsed(model_name="m", parameters=unload)) == "m"
    with pytest.raises(UnsupportedError, match="'repository_name' specification"):
        check_repository_request(parsed(model_name="m", repository_name="r"))
    for name in ("config", "file:1/model.onnx"):
        override = {name: {"string_param": "x"}}
        with pytest.raises(UnsupportedError, match="as its owner signed it"):
            check_repository_request(parsed(model_name="m", parameters=override))


def test_settings() -> None:
    data = encode_message("TraceSettingResponse", trace_reply(trace_settings()))
    found = service_pb2.TraceSettingResponse.FromString(data).settings
    assert list(found["trace_level"].value) == ["OFF"]
    assert list(found["trace_rate"].value) == ["1000"]
    data = encode_message("LogSettingsResponse", log_reply(log_settings()))
    log = service_pb2.LogSettingsResponse.FromString(data).settings
    assert log["log_info"].bool_param is True
    assert log["log_verbose_level"].WhichOneof("parameter_choice") == "uint32_param"
    assert log["log_format"].string_param == "default"


def test_settings_can_not_be_changed() -> None:
    def trace(**settings: list[str]) -> None:
        request = service_pb2.TraceSettingRequest(
            settings={name: {"value": value} for name, value in settings.items()}
        )
        found = parse_message("TraceSettingRequest", request.SerializeToString())
        check_settings(wanted_trace_settings(found), trace_settings())

    trace()
    trace(trace_level=["OFF"], trace_rate=["1000"], trace_count=[])
    for change in ({"trace_level": ["TENSORS"]}, {"trace_rate": ["1", "2"]}, {"x": ["1"]}):
        with pytest.raises(UnsupportedError):
            trace(**change)

    def log(**settings: dict[str, object]) -> None:
        request = service_pb2.LogSettingsRequest(settings=settings)
        found = parse_message("LogSettingsRequest", request.SerializeToString())
        check_settings(wanted_log_settings(found), log_settings())

    log(log_info={"bool_param": True}, log_file={})
    for value in ({"bool_param": False}, {"string_param": "yes"}):
        with pytest.raises(UnsupportedError):
            log(log_info=value)


@pytest.mark.parametrize("path", METHODS)
def test_every_message_can_be_empty(path: str) -> None:
    for name in METHODS[path]:
        assert encode_message(name, {}) == b""
        document = parse_message(name, b"")
        assert encode_message(name, document) == b""


def test_requests_are_small_and_well_formed() -> None:
    name = "ModelReadyRequest"
    assert parse_message(name, b"\n\x01m") == {"name": "m", "version": ""}
    for data in (b"\x08", b"\n\x01\xff", b"\n\x05m", b"\n" + bytes(70_000)):
        with pytest.raises(InvalidRequestError, match="malformed"):
            parse_message(name, data)


def test_a_member_that_no_message_has_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        encode_message("ModelReadyResponse", {"raedy": True})
