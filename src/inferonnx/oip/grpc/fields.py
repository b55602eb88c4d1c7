"""The messages and methods of the gRPC service: one table, everything else is drawn from it.

Names and numbers are those of the protocol (docs/protocol.md), written down here so that
no generated file is needed: two different files that declare the package `inference` can't
live in one process, and tritonclient and kserve each bring one.

A field is `name:type=number`. `[type]` is repeated, `{type}` a map from strings,
`type|choice` one of a choice.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "inference"
SERVICE = "inference.GRPCInferenceService"
HEALTH_SERVICE = "grpc.health.v1.Health"

_NAME_VERSION = "name:string=1 version:string=2"
_PARAMETERS = "parameters:{InferParameter}"
_TENSOR = (
    f"name:string=1 datatype:string=2 shape:[int64]=3 {_PARAMETERS}=4 "
    "contents:InferTensorContents=5"
)
_REPOSITORY = "repository_name:string=1 model_name:string=2 parameters:{ModelRepositoryParameter}=3"
_COMPUTE = (
    "compute_input:StatisticDuration={} compute_infer:StatisticDuration={} "
    "compute_output:StatisticDuration={}"
)
_LOG_VALUE = (
    "bool_param:bool|parameter_choice=1 uint32_param:uint32|parameter_choice=2 "
    "string_param:string|parameter_choice=3"
)

MESSAGES: Mapping[str, str] = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live:bool=1",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready:bool=1",
    "ModelReadyRequest": _NAME_VERSION,
    "ModelReadyResponse": "ready:bool=1",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name:string=1 version:string=2 extensions:[string]=3",
    "ModelMetadataRequest": _NAME_VERSION,
    "ModelMetadataResponse": (
        "name:string=1 versions:[string]=2 platform:string=3 "
        "inputs:[ModelMetadataResponse.TensorMetadata]=4 "
        "outputs:[ModelMetadataResponse.TensorMetadata]=5"
    ),
    "ModelMetadataResponse.TensorMetadata": "name:string=1 datatype:string=2 shape:[int64]=3",
    "InferParameter": (
        "bool_param:bool|parameter_choice=1 int64_param:int64|parameter_choice=2 "
        "string_param:string|parameter_choice=3 double_param:double|parameter_choice=4 "
        "uint64_param:uint64|parameter_choice=5"
    ),
    "InferTensorContents": (
        "bool_contents:[bool]=1 int_contents:[int32]=2 int64_contents:[int64]=3 "
        "uint_contents:[uint32]=4 uint64_contents:[uint64]=5 fp32_contents:[float]=6 "
        "fp64_contents:[double]=7 bytes_contents:[bytes]=8"
    ),
    "ModelInferRequest": (
        f"model_name:string=1 model_version:string=2 id:string=3 {_PARAMETERS}=4 "
        "inputs:[ModelInferRequest.InferInputTensor]=5 "
        "outputs:[ModelInferRequest.InferRequestedOutputTensor]=6 raw_input_contents:[bytes]=7"
    ),
    "ModelInferRequest.InferInputTensor": _TENSOR,
    "ModelInferRequest.InferRequestedOutputTensor": f"name:string=1 {_PARAMETERS}=2",
    "ModelInferResponse": (
        f"model_name:string=1 model_version:string=2 id:string=3 {_PARAMETERS}=4 "
        "outputs:[ModelInferResponse.InferOutputTensor]=5 raw_output_contents:[bytes]=6"
    ),
    "ModelInferResponse.InferOutputTensor": _TENSOR,
    "ModelStreamInferResponse": "error_message:string=1 infer_response:ModelInferResponse=2",
    "ModelConfigRequest": _NAME_VERSION,
    "ModelConfigResponse": "config:ModelConfig=1",
    "ModelStatisticsRequest": _NAME_VERSION,
    "ModelStatisticsResponse": "model_stats:[ModelStatistics]=1",
    "StatisticDuration": "count:uint64=1 ns:uint64=2",
    "InferStatistics": (
        "success:StatisticDuration=1 fail:StatisticDuration=2 queue:StatisticDuration=3 "
        f"{_COMPUTE.format(4, 5, 6)} cache_hit:StatisticDuration=7 cache_miss:StatisticDuration=8"
    ),
    "InferResponseStatistics": (
        "compute_infer:StatisticDuration=1 compute_output:StatisticDuration=2 "
        "success:StatisticDuration=3 fail:StatisticDuration=4 "
        "empty_response:StatisticDuration=5 cancel:StatisticDuration=6"
    ),
    "InferBatchStatistics": f"batch_size:uint64=1 {_COMPUTE.format(2, 3, 4)}",
    "MemoryUsage": "type:string=1 id:int64=2 byte_size:uint64=3",
    "ModelStatistics": (
        "name:string=1 version:string=2 last_inference:uint64=3 inference_count:uint64=4 "
        "execution_count:uint64=5 inference_stats:InferStatistics=6 "
        "batch_stats:[InferBatchStatistics]=7 memory_usage:[MemoryUsage]=8 "
        "response_stats:{InferResponseStatistics}=9"
    ),
    "ModelRepositoryParameter": (
        "bool_param:bool|parameter_choice=1 int64_param:int64|parameter_choice=2 "
        "string_param:string|parameter_choice=3 bytes_param:bytes|parameter_choice=4"
    ),
    "RepositoryIndexRequest": "repository_name:string=1 ready:bool=2",
    "RepositoryIndexResponse": "models:[RepositoryIndexResponse.ModelIndex]=1",
    "RepositoryIndexResponse.ModelIndex": (
        "name:string=1 version:string=2 state:string=3 reason:string=4"
    ),
    "RepositoryModelLoadRequest": _REPOSITORY,
    "RepositoryModelLoadResponse": "",
    "RepositoryModelUnloadRequest": _REPOSITORY,
    "RepositoryModelUnloadResponse": "",
    "SystemSharedMemoryStatusRequest": "name:string=1",
    "SystemSharedMemoryStatusResponse": (
        "regions:{SystemSharedMemoryStatusResponse.RegionStatus}=1"
    ),
    "SystemSharedMemoryStatusResponse.RegionStatus": (
        "name:string=1 key:string=2 offset:uint64=3 byte_size:uint64=4"
    ),
    "SystemSharedMemoryRegisterRequest": (
        "name:string=1 key:string=2 offset:uint64=3 byte_size:uint64=4"
    ),
    "SystemSharedMemoryRegisterResponse": "",
    "SystemSharedMemoryUnregisterRequest": "name:string=1",
    "SystemSharedMemoryUnregisterResponse": "",
    "CudaSharedMemoryStatusRequest": "name:string=1",
    "CudaSharedMemoryStatusResponse": "regions:{CudaSharedMemoryStatusResponse.RegionStatus}=1",
    "CudaSharedMemoryStatusResponse.RegionStatus": (
        "name:string=1 device_id:uint64=2 byte_size:uint64=3"
    ),
    "CudaSharedMemoryRegisterRequest": (
        "name:string=1 raw_handle:bytes=2 device_id:int64=3 byte_size:uint64=4"
    ),
    "CudaSharedMemoryRegisterResponse": "",
    "CudaSharedMemoryUnregisterRequest": "name:string=1",
    "CudaSharedMemoryUnregisterResponse": "",
    "TraceSettingRequest": "settings:{TraceSettingRequest.SettingValue}=1 model_name:string=2",
    "TraceSettingRequest.SettingValue": "value:[string]=1",
    "TraceSettingResponse": "settings:{TraceSettingResponse.SettingValue}=1",
    "TraceSettingResponse.SettingValue": "value:[string]=1",
    "LogSettingsRequest": "settings:{LogSettingsRequest.SettingValue}=1",
    "LogSettingsRequest.SettingValue": _LOG_VALUE,
    "LogSettingsResponse": "settings:{LogSettingsResponse.SettingValue}=1",
    "LogSettingsResponse.SettingValue": _LOG_VALUE,
    # Of the model configuration only what `messages.model_config` says.
    "ModelConfig": (
        "name:string=1 platform:string=2 version_policy:ModelVersionPolicy=3 "
        "max_batch_size:int32=4 input:[ModelInput]=5 output:[ModelOutput]=6 "
        "instance_group:[ModelInstanceGroup]=7 default_model_filename:string=8 "
        "dynamic_batching:ModelDynamicBatching|scheduling_choice=11 parameters:{ModelParameter}=14 "
        "backend:string=17 model_transaction_policy:ModelTransactionPolicy=19"
    ),
    "ModelVersionPolicy": "all:ModelVersionPolicy.All|policy_choice=2",
    "ModelVersionPolicy.All": "",
    "ModelInput": (
        "name:string=1 data_type:DataType=2 format:ModelInput.Format=3 dims:[int64]=4 "
        "is_shape_tensor:bool=6 allow_ragged_batch:bool=7 optional:bool=8"
    ),
    "ModelOutput": (
        "name:string=1 data_type:DataType=2 dims:[int64]=3 label_filename:string=4 "
        "is_shape_tensor:bool=6"
    ),
    "ModelInstanceGroup": (
        "name:string=1 count:int32=2 gpus:[int32]=3 kind:ModelInstanceGroup.Kind=4"
    ),
    "ModelDynamicBatching": (
        "preferred_batch_size:[int32]=1 max_queue_delay_microseconds:uint64=2 "
        "preserve_ordering:bool=3"
    ),
    "ModelParameter": "string_value:string=1",
    "ModelTransactionPolicy": "decoupled:bool=1",
}

# Values in order, from 0.
ENUMS: Mapping[str, str] = {
    "DataType": (
        "TYPE_INVALID TYPE_BOOL TYPE_UINT8 TYPE_UINT16 TYPE_UINT32 TYPE_UINT64 TYPE_INT8 "
        "TYPE_INT16 TYPE_INT32 TYPE_INT64 TYPE_FP16 TYPE_FP32 TYPE_FP64 TYPE_STRING TYPE_BF16"
    ),
    "ModelInput.Format": "FORMAT_NONE FORMAT_NHWC FORMAT_NCHW",
    "ModelInstanceGroup.Kind": "KIND_AUTO KIND_GPU KIND_CPU KIND_MODEL",
}

HEALTH_PACKAGE = "grpc.health.v1"
HEALTH_MESSAGES: Mapping[str, str] = {
    "HealthCheckRequest": "service:string=1",
    "HealthCheckResponse": "status:HealthCheckResponse.ServingStatus=1",
}
HEALTH_ENUMS: Mapping[str, str] = {
    "HealthCheckResponse.ServingStatus": "UNKNOWN SERVING NOT_SERVING SERVICE_UNKNOWN",
}

STREAM = "ModelStreamInfer"
"""The only method that streams, in both directions."""

_UNARY = (
    "ServerLive ServerReady ModelReady ServerMetadata ModelMetadata ModelInfer ModelConfig "
    "ModelStatistics RepositoryIndex RepositoryModelLoad RepositoryModelUnload "
    "SystemSharedMemoryStatus SystemSharedMemoryRegister SystemSharedMemoryUnregister "
    "CudaSharedMemoryStatus CudaSharedMemoryRegister CudaSharedMemoryUnregister "
    "TraceSetting LogSettings"
)
METHODS: Mapping[str, tuple[str, str]] = {
    **{f"/{SERVICE}/{name}": (f"{name}Request", f"{name}Response") for name in _UNARY.split()},
    f"/{SERVICE}/{STREAM}": ("ModelInferRequest", "ModelStreamInferResponse"),
    f"/{HEALTH_SERVICE}/Check": ("HealthCheckRequest", "HealthCheckResponse"),
}
"""Path of each method, and the names of what it takes and gives."""
