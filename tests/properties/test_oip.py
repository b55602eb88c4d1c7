"""The protocol's codec: what goes in comes out; what is broken raises OipError, nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from inferonnx.oip import (
    DATATYPES,
    InferRequest,
    InferResponse,
    Limits,
    ModelSignature,
    NamedTensor,
    OipError,
    RawRequest,
    TensorSpec,
    WantedOutput,
    check_request,
    check_settings,
    encode_error,
    encode_infer_request,
    encode_infer_response,
    json_data,
    parse_error,
    parse_header_length,
    parse_index_request,
    parse_infer_request,
    parse_infer_response,
    parse_load_request,
    parse_model_version,
    parse_settings,
    parse_unload_request,
    resolve_raw,
    stream_infer_response,
    trace_settings,
)
from inferonnx.tensors import TEXT_ERRORS, DType, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

# Text as JSON can carry it: any characters but halves of surrogate pairs.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)
BYTES = st.binary(max_size=6).map(lambda raw: raw.decode(errors=TEXT_ERRORS))
PARAMETERS = st.dictionaries(
    NAMES.map(lambda name: f"p{name}"),
    st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXT,
    max_size=3,
)
HALVES = (DType.FLOAT16, DType.BFLOAT16)


@st.composite
def tensors(draw: st.DrawFn, *, in_json: bool = False) -> Tensor:
    dtype = draw(st.sampled_from(sorted(DATATYPES.values())))
    if in_json and dtype in HALVES:
        dtype = DType.FLOAT
    shape = draw(SHAPES)
    n = 1
    for size in shape:
        n *= size
    if dtype is DType.STRING:
        texts = draw(st.lists(TEXT if in_json else BYTES, min_size=n, max_size=n))
        return Tensor(dtype=dtype, shape=shape, strings=texts)
    n_bytes = dtype.n_bytes(n)
    if dtype is DType.BOOL:
        data = bytes(draw(st.lists(st.integers(0, 1), min_size=n_bytes, max_size=n_bytes)))
    else:
        data = draw(st.binary(min_size=n_bytes, max_size=n_bytes))
    tensor = Tensor(dtype=dtype, shape=shape, data=data)
    if in_json and dtype in (DType.FLOAT, DType.DOUBLE):
        # JSON has one NaN; the others would come back as that one.
        kind = "f" if dtype is DType.FLOAT else "d"
        cells = memoryview(bytearray(data)).cast(kind) if data else []
        if any(x != x for x in cells):
            tensor = Tensor(dtype=dtype, shape=shape, data=bytes(n_bytes))
    return tensor


@st.composite
def mixes(draw: st.DrawFn) -> tuple[tuple[NamedTensor, ...], frozenset[str]]:
    """Tensors, and the names of those that travel as JSON."""
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    in_json = frozenset(name for name in names if draw(st.booleans()))
    made = tuple(
        NamedTensor(name=name, tensor=draw(tensors(in_json=name in in_json))) for name in names
    )
    return made, in_json


@st.composite
def requests(draw: st.DrawFn) -> tuple[InferRequest, frozenset[str]]:
    inputs, in_json = draw(mixes())
    names = draw(st.lists(NAMES, max_size=3, unique=True))
    outputs = tuple(
        WantedOutput(
            name=name, binary=draw(st.booleans()), classification=draw(st.integers(0, 2**64 - 1))
        )
        for name in names
    )
    request = InferRequest(
        model_name="m",
        model_version="3",
        id=draw(TEXT),
        parameters=draw(PARAMETERS),
        inputs=inputs,
        outputs=outputs,
        binary_output_default=not outputs and draw(st.booleans()),
        timeout_us=draw(st.integers(0, 2**64 - 1)),
        priority=draw(st.integers(0, 2**64 - 1)),
    )
    return request, in_json


@given(requests())
def test_requests_come_through(drawn: tuple[InferRequest, frozenset[str]]) -> None:
    request, in_json = drawn
    pieces, length = encode_infer_request(request, json_inputs=in_json)
    body = b"".join(pieces)
    found = parse_infer_request(body, model_name="m", model_version="3", header_length=length)
    assert found == request
    assert (length is None) == (in_json == {named.name for named in request.inputs})


@given(mixes(), TEXT, PARAMETERS)
def test_answers_come_through(
    drawn: tuple[tuple[NamedTensor, ...], frozenset[str]], text: str, parameters: dict[str, Any]
) -> None:
    outputs, in_json = drawn
    response = InferResponse(
        model_name="m", model_version="1", id=text, parameters=parameters, outputs=outputs
    )
    wanted = tuple(WantedOutput(name=o.name, binary=o.name not in in_json) for o in outputs)
    request = InferRequest(model_name="m", outputs=wanted)
    pieces, length, kind = encode_infer_response(response, request)
    body = b"".join(pieces)
    assert parse_infer_response(body, header_length=length) == response
    streamed, n_bytes, *others = stream_infer_response(response, request)
    assert [b"".join(streamed), b"".join(streamed)] == [body, body]
    assert (n_bytes, others) == (len(body), [length, kind])


@given(st.text())
def test_errors_come_through(message: str) -> None:
    found = parse_error(400, encode_error(message))
    if message:
        assert found.message == message


MEMBERS = (
    "id inputs outputs parameters name shape datatype data binary_data_size binary_data ready "
    "classification shared_memory_region timeout priority sequence_id triton_x config "
    "unload_dependents trace_level"
)
WORDS = ["x", "FP32", "BYTES", "INT8", "BOOL", "", "\ud800", "\udc80", "é"]
LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats()
JSON = st.recursive(
    LEAVES | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(MEMBERS.split()), inner, max_size=5)
    ),
    max_leaves=12,
)
INPUTS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "y", 7]),
        "datatype": st.sampled_from([*DATATYPES, "FP8", None]),
        "shape": JSON | st.lists(st.integers(-2, 3) | st.sampled_from([2**31, 2**62, 2**64])),
    },
    optional={
        "data": JSON | st.lists(st.integers(-1, 300) | st.floats() | st.booleans() | st.text()),
        "parameters": st.fixed_dictionaries(
            {}, optional={"binary_data_size": st.integers(-1, 20) | JSON}
        ),
    },
)
DOCUMENTS = JSON | st.fixed_dictionaries(
    {"inputs": st.lists(INPUTS, max_size=3)}, optional={"parameters": JSON, "outputs": JSON}
)
SIGNATURE = ModelSignature(
    inputs=(TensorSpec(name="x", dtype=DType.FLOAT, shape=(-1,)),),
    outputs=(TensorSpec(name="y", dtype=DType.FLOAT, shape=(-1,)),),
    max_batch_size=4,
)


def refusal(action: Callable[[], object]) -> OipError | None:
    """Do something and return how it was refused, None when it was not."""
    try:
        action()
    except OipError as error:
        return error
    return None


def use(body: bytes, length: int | None) -> None:
    """Do all that a server and a client do with a body; only OipError may come of it."""
    limits = Limits(json_bytes=1 << 20, tensor_bytes=1 << 20)

    def serve() -> None:
        found = parse_infer_request(body, model_name="m", header_length=length, limits=limits)
        request = resolve_raw(found, SIGNATURE) if isinstance(found, RawRequest) else found
        check_request(request, SIGNATURE)

    for action in (
        serve,
        lambda: parse_infer_response(body, header_length=length, limits=limits),
        lambda: parse_index_request(body),
        lambda: parse_load_request(body),
        lambda: parse_unload_request(body),
        lambda: check_settings(parse_settings(body), trace_settings()),
    ):
        error = refusal(action)
        if error is not None:
            assert 400 <= error.status <= 502
            assert len(encode_error(error)) < 20_000


@given(DOCUMENTS, st.binary(max_size=20), st.booleans())
def test_any_json_is_read_or_refused(document: Any, blobs: bytes, ascii_only: bool) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    use(text + blobs, len(text))
    use(text, None)


SPLINTERS = [*(bytes([c]) for c in b'[]{},"\\\\:-'), b"9" * 30, b"NaN", b"Infinity", b"null"]
SPLINTERS += [b"1e999", b'"\\ud800"', b"\xff", b'"data":', b"[" * 200]


@given(st.data(), requests())
def test_any_damage_is_read_or_refused(
    data: st.DataObject, drawn: tuple[InferRequest, frozenset[str]]
) -> None:
    request, in_json = drawn
    pieces, length = encode_infer_request(request, json_inputs=in_json)
    body = bytearray(b"".join(pieces))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        match data.draw(st.integers(0, 3)):
            case 0:
                del body[at:]
            case 1:
                del body[at : at + data.draw(st.integers(1, 5))]
            case 2:
                body[at : at + 1] = data.draw(st.binary(min_size=1, max_size=3))
            case 3:
                body[at:at] = data.draw(st.sampled_from(SPLINTERS))
    if data.draw(st.booleans()):
        length = data.draw(st.none() | st.integers(-1, len(body) + 2))
    use(bytes(body), length)


@given(st.binary(max_size=200), st.none() | st.integers(-2, 202))
def test_any_bytes_are_read_or_refused(body: bytes, length: int | None) -> None:
    use(body, length)


@given(st.text(max_size=25) | st.integers().map(str))
def test_any_header_is_read_or_refused(text: str) -> None:
    for parse in (parse_model_version, lambda text: parse_header_length(text, 1000)):
        try:
            found = parse(text)
        except OipError:
            continue
        assert found is None or 0 <= found < 2**63


@given(st.text('[]{},1" :a', max_size=30), st.sampled_from([1, 2, 3, 1000]))
def test_what_json_refuses_is_refused(text: str, slice_bytes: int) -> None:
    """No text that Python's reader refuses gets through the slices, wherever they are cut."""
    body = f'{{"inputs":[{{"name":"x","shape":[0],"datatype":"INT8","data":[{text}]}}]}}'
    with patch.object(json_data, "_SLICE_BYTES", slice_bytes):
        error = refusal(lambda: parse_infer_request(body.encode(), model_name="m"))
    if error is None:
        json.loads(body)
