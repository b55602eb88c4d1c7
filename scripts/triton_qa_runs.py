"""Which of Triton's tests are run, on which models, and why some do not pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inferonnx import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ZEROS = tuple(
    f"{prefix}{infix}_zero_{kind}"
    for prefix, kinds in (
        (
            "onnx",
            ("1_float32", "3_float32", "1_float16", "3_float16", "1_object", "3_object", "1_bool"),
        ),
        *(
            (ensemble, ("1_float32", "3_float32", "1_float16", "3_float16", "1_bool"))
            for ensemble in ("simple_zero", "sequence_zero", "fan_zero")
        ),
    )
    for infix in ("", "_nobatch")
    for kind in kinds
)


NAME = "the server says its own name, inferonnx, and not triton"
SHARED = "registering shared memory is refused (501): memory outside of the enclave is not private"
OVERRIDES = "load with `config` or `file:` is refused: a model is what its owner signed"
LOADS = "load and unload are there for who has the role; the test wants them refused"
HOOK = "needs a hook in Triton's server that delays every reply by two seconds"
PYTHON = "needs a model with optional inputs, which Triton's Python backend has and ONNX has not"
TWO_LENGTHS = (
    "sends Content-Length and Transfer-Encoding both, which is refused: by such requests others "
    "are smuggled"
)
FULL_QUEUE = (
    "needs Triton's batching delay to hold a queue of one place full; that a full queue answers "
    "503 is tested with our scheduler"
)
GENERATE = "asks for `generate`, which is not served (501)"
TOO_LARGE = (
    "what is too large is refused with 413, HTTP's status for it, in words of ours, since the "
    "option has another name here; Triton says 400"
)
NEGATIVE = "400 and the same words: Triton's 500 blames the server for the caller's mistake"
PLATFORM = "wants the platform tensorrt_plan of one of the models"
LOOKED_UP = (
    "load answers that there is no such model (404): a name is looked up among the models that "
    "are there and never becomes a path"
)
OTHER_INPUT = "the same words of INPUT0: of two wrong inputs Triton names another one"
TENSORRT = "needs a TensorRT engine, and shared memory"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One file of tests with a server.

    Attributes:
        file: Below `qa`.
        models: What the server has.
        names: Classes or tests within the file; the empty one is all of it.
        arguments: Of a file that is no unittest: one list for each time that it is run.
        environment: More of it.
        settings: Of the server, in TOML.
        memory: Of the server.
        rows, columns: Sizes that the models are sealed for, where they are free.
        limit_s: After which it is stopped.
        is_endless: Whether that is how it ends, with what it has found by then.
        reasons: Why tests do not pass, by the beginning of their name.
    """

    file: str
    models: Sequence[str]
    names: Sequence[str] = ("",)
    arguments: Sequence[Sequence[str]] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    settings: str = ""
    memory: str = "1GiB"
    rows: int = 8
    columns: int = 32
    limit_s: int = 600
    is_endless: bool = False
    reasons: Mapping[str, str] = field(default_factory=dict)

    def reason(self, test: str) -> str:
        """Return why a test does not pass, "" when nothing is known."""
        return next((why for name, why in self.reasons.items() if test.startswith(name)), "")


RUNS: tuple[Run, ...] = (
    Run(
        file="L0_http/http_test.py",
        models=(
            "onnx_zero_1_float32",
            "onnx_zero_1_object",
            "onnx_zero_1_float16",
            "onnx_zero_3_float32",
            "onnx_zero_1_object_1_element",
            "onnx_zero_1_float32_queue",
            "simple_identity",
            "simple_identity_int64",
        ),
        reasons={
            "HttpTest.test_content_encoding_chunked_manually": TWO_LENGTHS,
            "HttpTest.test_descriptive_status_code": FULL_QUEUE,
            "HttpTest.test_load_oversized_file_parameter": OVERRIDES,
            "HttpTest.test_loading_large_invalid_model": OVERRIDES,
            "HttpTest.test_negative_dimensions": NEGATIVE,
        },
    ),
    Run(file="L0_http/http_request_many_chunks.py", models=("simple",)),
    Run(
        file="L0_http/http_input_size_limit_test.py",
        models=("onnx_zero_1_float32", "simple_identity"),
        memory="8GiB",
        rows=1,
        columns=1 << 24,
        reasons={
            "InferSizeLimitTest.test_json_dtype_size_expansion": GENERATE,
            "InferSizeLimitTest.": TOO_LARGE,
        },
    ),
    Run(
        file="L0_http/python_http_aio_test.py",
        models=("simple", "identity_fp32", *ZEROS[:5]),
        reasons={
            "TestHttpAioClient.test_get_server_metadata": NAME,
            "TestHttpAioClient.test_load_model": LOADS,
            "TestHttpAioClient.test_unload_model": LOADS,
        },
    ),
    Run(
        file="L0_grpc/python_grpc_aio_test.py",
        models=("simple", "identity_fp32", *ZEROS[:6]),
        reasons={
            "TestGrpcAioClient.test_get_server_metadata": NAME,
            "TestGrpcAioClient.test_load_model": LOADS,
            "TestGrpcAioClient.test_unload_model": LOADS,
            "TestGrpcAioClient.test_register_system_shared_memory": SHARED,
            "TestGrpcAioClient.test_register_cuda_shared_memory": SHARED,
        },
    ),
    Run(
        file="L0_input_validation/input_validation_test.py",
        models=("input_all_required", "pt_identity", "onnx_object_int32_int32"),
        reasons={
            "InputValTest.test_input_validation_optional": PYTHON,
            "InputValTest.test_input_validation_all_optional": PYTHON,
            "InputShapeTest.test_wrong_input_shape_tensor_size": TENSORRT,
            "InputShapeTest.test_input_string_shape_validation": OTHER_INPUT,
            "ModelNameValidationTest.": LOOKED_UP,
        },
    ),
    Run(
        file="L0_infer_zero/infer_zero_test.py",
        models=ZEROS,
        environment={"BACKENDS": "onnx"},
        memory="4GiB",
    ),
    Run(
        file="L0_scalar_io/scalar_test.py",
        models=("onnx_scalar_1dim", "onnx_scalar_2dim"),
    ),
    Run(file="L0_string_io/string_client_test.py", models=("string_identity",)),
    Run(
        file="L0_nullchar_string/nullchar_string_client.py",
        models=("onnx_nobatch_zero_1_object",),
        arguments=(
            ("-m", "onnx_nobatch_zero_1_object"),
            ("-m", "onnx_nobatch_zero_1_object", "-i", "grpc", "-u", "localhost:8001"),
        ),
    ),
    Run(file="L0_nan_inf/nan_inf_test.py", models=("nan_inf_output",)),
    Run(
        file="L0_parameters/class_count_test.py",
        models=("identity_fp32", "identity_bytes"),
        environment={"CLIENT_TYPE": "http"},
        rows=1,
        columns=1_000_001,
    ),
    Run(
        file="L0_parameters/class_count_test.py",
        models=("identity_fp32", "identity_bytes"),
        environment={"CLIENT_TYPE": "grpc"},
        rows=1,
        columns=1_000_001,
    ),
    Run(
        file="L0_client_timeout/client_infer_timeout_test.py",
        models=("custom_identity_int32",),
    ),
    Run(
        file="L0_client_timeout/client_non_infer_timeout_test.py",
        models=("custom_identity_int32",),
        reasons={
            "ClientNonInferTimeoutTest.": HOOK,
        },
    ),
    Run(
        file="L0_server_status/server_status_test.py",
        models=(
            "libtorch_int32_int8_int8",
            "onnx_int32_int8_int8",
            "onnx_int32_int32_int32",
            "plan_int32_int32_int32",
            "onnx_float32_float32_float32",
            "plan_float32_float32_float32",
            "libtorch_float32_float32_float32",
        ),
        names=("ServerMetadataTest",),
        environment={"TRITON_SERVER_VERSION": __version__},
        reasons={
            "ServerMetadataTest.test_basic": NAME,
            "ServerMetadataTest.test_unknown_model": NAME,
            "ServerMetadataTest.test_model_latest_infer": PLATFORM,
        },
    ),
    Run(file="L0_http_fuzz/fuzztest.py", models=("simple",), limit_s=60, is_endless=True),
)

COMPRESSION = Run(file="L0_data_compression/validation.py", models=())
"""Half of a test of a program of Triton's, in whose place our codings are tested."""

NOT_RUN = {
    "L0_secure_grpc": "a shell script around example programs of another repository; TLS, mutual "
    "TLS and their refusals are tested with tritonclient, grpcio and openssl in tests/",
    "L0_server_status ModelMetadataTest": "deletes and copies versions under a server that polls "
    "its repository, and wants its whole set of 60 models",
    "L0_https": "tests an nginx in front of Triton",
    "test.sh of each": "starts Triton itself, and checks its logs",
}

PREFACE = """
The models are made by our own code under the names that the tests want, with the inputs
and outputs that they want: what Triton serves by several backends or as an ensemble is one
ONNX graph here. They are sealed and unlocked. The tests know plaintext at localhost:8000
and :8001 alone: at the first stands `inferonnx proxy`, at the second a relay that adds TLS.
"""
"""How it was done."""
